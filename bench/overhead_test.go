package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// These benchmarks measure what a session costs in the process, compared with scs on its memory
// store. Neither uses the network: DynamoDB is a stub that remembers one item. The AWS SDK's own
// calls are measured as well, so that their cost can be subtracted.
//
//	go test -C bench -run='^$' -bench=Overhead -count=10 . | go run golang.org/x/perf/cmd/benchstat@latest -col=/via -

// oneItem is an HTTP client that stands for DynamoDB. It returns the item that was put last.
type oneItem struct{ get, none []byte }

func (s *oneItem) Do(r *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body := s.none
	switch op {
	case "PutItem":
		var in struct{ Item json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return nil, err
		}
		s.get = []byte(`{"Item":` + string(in.Item) + `}`)
	case "GetItem":
		body = s.get
		fallthrough
	default:
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
	}
	return &http.Response{
		StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amzn-Requestid": {"QK1TTB3V5G"}},
	}, nil
}

// nowhere is a ResponseWriter that discards the response.
type nowhere http.Header

func (w nowhere) Header() http.Header         { return http.Header(w) }
func (w nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (w nowhere) WriteHeader(int)             {}

// overheadSizes are the sizes of the sessions.
var overheadSizes = []struct {
	name  string
	bytes int
}{{"200B", 200}, {"1KB", 1000}, {"4KB", 4000}, {"40KB", 40_000}}

// contentOf returns as many values of several people's sessions as fit into size bytes. The sessions
// hold a counter as well.
func contentOf(size int) (list []value) {
	for n, fits := 0, true; fits; n++ {
		p := newPerson(n, true)
		fits = false
		for _, v := range []value{p.small[0], p.small[1], p.profile, p.big} {
			v.key += "_" + strconv.Itoa(n)
			if size -= len(v.key) + len(v.json); size < 0 {
				size += len(v.key) + len(v.json)
				continue
			}
			list, fits = append(list, v), true
		}
	}
	return list
}

// overhead drives one library, with a session that holds a counter and other values.
type overhead struct {
	through func(http.Handler) http.Handler
	fill    func(ctx context.Context, values []value)
	read    func(context.Context) bool
	change  func(context.Context, int)
}

// requests returns functions that each send one request, by the kind of request.
func (o *overhead) requests(tb testing.TB, size int) map[string]func() {
	fill := o.through(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { o.fill(r.Context(), contentOf(size)) }))
	w := httptest.NewRecorder()
	fill.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	var cookie string
	if cookies := w.Result().Cookies(); len(cookies) > 0 {
		cookie = cookies[0].Name + "=" + cookies[0].Value
	}

	var n atomic.Int64
	request := func(cookie string, handle http.HandlerFunc) func() {
		h := o.through(handle)
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		return func() { h.ServeHTTP(nowhere{}, r) }
	}
	alone := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	return map[string]func(){
		"alone":             request("", alone),
		"alone-with-cookie": request(cookie, alone),
		"read": request(cookie, func(w http.ResponseWriter, r *http.Request) {
			if !o.read(r.Context()) {
				tb.Error("there is no session")
			}
			w.WriteHeader(http.StatusNoContent)
		}),
		"change": request(cookie, func(w http.ResponseWriter, r *http.Request) {
			o.change(r.Context(), int(n.Add(1)))
			w.WriteHeader(http.StatusNoContent)
		}),
	}
}

func ofSCS() *overhead {
	m := scs.New()
	m.Store = memstore.NewWithCleanupInterval(0)
	return &overhead{
		through: m.LoadAndSave,
		fill: func(ctx context.Context, values []value) {
			m.Put(ctx, "visits", 1)
			for _, v := range values {
				m.Put(ctx, v.key, v.json)
			}
		},
		read:   func(ctx context.Context) bool { return m.GetInt(ctx, "visits") > 0 },
		change: func(ctx context.Context, n int) { m.Put(ctx, "visits", n) },
	}
}

func ofOurs(tb testing.TB) (*overhead, *dynamodb.Client) {
	client := dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://dynamodb.test"), HTTPClient: &oneItem{none: []byte("{}")},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	s, err := dynasession.New(client, dynasession.Config{})
	require.NoError(tb, err)
	with := func(ctx context.Context, f func(*dynasession.Session)) {
		sess, err := dynasession.Load(ctx)
		if err != nil {
			tb.Error(err)
			return
		}
		f(sess)
	}
	return &overhead{
		through: s.Middleware,
		fill: func(ctx context.Context, values []value) {
			with(ctx, func(sess *dynasession.Session) {
				sess.Set("visits", 1)
				for _, v := range values {
					sess.Set(v.key, json.RawMessage(v.json))
				}
			})
		},
		read: func(ctx context.Context) (ok bool) {
			with(ctx, func(sess *dynasession.Session) { _, ok = dynasession.Get[int](sess, "visits") })
			return ok
		},
		change: func(ctx context.Context, n int) {
			with(ctx, func(sess *dynasession.Session) { sess.Set("visits", n) })
		},
	}, client
}

// sdkCalls returns functions that make the same calls as this library, with the SDK alone.
func sdkCalls(tb testing.TB, client *dynamodb.Client, size int) map[string]func() {
	key := "session_" + strings.Repeat("0", 64)
	data := `{"visits":1`
	for _, v := range contentOf(size) {
		data += `,"` + v.key + `":` + v.json
	}
	data += "}"
	get := func() {
		_, err := client.GetItem(context.Background(), &dynamodb.GetItemInput{
			TableName: aws.String("sessions"), ConsistentRead: aws.Bool(true), Key: map[string]attribute{"id": text(key)},
		})
		if err != nil {
			tb.Error(err)
		}
	}
	return map[string]func(){"read": get, "change": func() {
		get()
		now := time.Now().Unix()
		_, err := client.UpdateItem(context.Background(), &dynamodb.UpdateItemInput{
			TableName: aws.String("sessions"), Key: map[string]attribute{"id": text(key)},
			UpdateExpression:         aws.String("SET #e = :e, #w = :w, #r = :r1, #d = :d"),
			ConditionExpression:      aws.String("#e > :now AND begins_with(#w, :c) AND #r = :r"),
			ExpressionAttributeNames: map[string]string{"#e": "expires", "#w": "w", "#r": "rev", "#d": "data"},
			ExpressionAttributeValues: map[string]attribute{
				":e": number(now + 3600), ":w": text("aaaaaaaabbbbbbbb"), ":r1": number(2), ":d": text(data),
				":now": number(now), ":c": text("aaaaaaaa"), ":r": number(1),
			},
		})
		if err != nil {
			tb.Error(err)
		}
	}}
}

func overheads(tb testing.TB, size int) map[string]map[string]func() {
	ours, client := ofOurs(tb)
	none := &overhead{
		through: func(h http.Handler) http.Handler { return h },
		fill:    func(context.Context, []value) {},
		read:    func(context.Context) bool { return true },
		change:  func(context.Context, int) {},
	}
	return map[string]map[string]func(){
		"none": none.requests(tb, size), "scs": ofSCS().requests(tb, size), "ours": ours.requests(tb, size), "sdk": sdkCalls(tb, client, size),
	}
}

func BenchmarkOverhead(b *testing.B) {
	for _, size := range overheadSizes {
		all := overheads(b, size.bytes)
		for _, req := range []string{"alone", "alone-with-cookie", "read", "change"} {
			for _, via := range []string{"none", "scs", "ours", "sdk"} {
				if send := all[via][req]; send != nil {
					b.Run("size="+size.name+"/req="+req+"/via="+via, func(b *testing.B) { benchBoth(b, send) })
				}
			}
		}
	}
}

func benchBoth(b *testing.B, send func()) {
	b.Run("mode=one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			send()
		}
	})
	b.Run("mode=parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				send()
			}
		})
	})
}

// BenchmarkOverheadRatio runs the libraries in turns, so that whatever slows the machine slows all of
// them, and compares the medians of the turns. The metric x/scs is what this library adds to the SDK's
// calls, divided by what scs adds to a request without sessions. The metric x/sdk is this library's
// whole request, divided by the SDK's calls.
func BenchmarkOverheadRatio(b *testing.B) {
	const turn = 50
	for _, size := range overheadSizes {
		all := overheads(b, size.bytes)
		for _, req := range []string{"read", "change"} {
			b.Run("size="+size.name+"/req="+req, func(b *testing.B) {
				turns := map[string][]time.Duration{}
				for b.Loop() {
					for via, requests := range all {
						begin := time.Now()
						for range turn {
							requests[req]()
						}
						turns[via] = append(turns[via], time.Since(begin))
					}
				}
				took := map[string]float64{}
				for via := range turns {
					slices.Sort(turns[via])
					took[via] = turns[via][len(turns[via])/2].Seconds()
				}
				b.ReportMetric((took["ours"]-took["sdk"])/(took["scs"]-took["none"]), "x/scs")
				b.ReportMetric(took["ours"]/took["sdk"], "x/sdk")
			})
		}
	}
}
