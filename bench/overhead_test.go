package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// What a session costs in the process, beside scs with its memory store. The network is left out
// of both: DynamoDB is a stub that remembers one item. What the AWS SDK takes for the calls
// themselves is measured too, to be subtracted.
//
//	go test -C bench -run='^$' -bench=Overhead -count=10 . | go run golang.org/x/perf/cmd/benchstat@latest -col=/via -

// oneItem is an HTTP client that answers with the item that was put last.
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

// nowhere is a ResponseWriter that keeps nothing.
type nowhere http.Header

func (w nowhere) Header() http.Header         { return http.Header(w) }
func (w nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (w nowhere) WriteHeader(int)             {}

// overhead is one library's way of keeping a session of a counter and a profile, about 1 KB.
type overhead struct {
	through func(http.Handler) http.Handler
	fill    func(ctx context.Context, profile string)
	read    func(context.Context) bool
	change  func(context.Context, int)
}

// requests gives functions that each send one request.
func (o *overhead) requests(tb testing.TB) map[string]func() {
	p := newPerson(1, true)
	fill := o.through(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { o.fill(r.Context(), p.profile.json) }))
	w := httptest.NewRecorder()
	fill.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	var cookie string
	if cookies := w.Result().Cookies(); len(cookies) > 0 {
		cookie = cookies[0].Name + "=" + cookies[0].Value
	}

	n := 0
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
			n++
			o.change(r.Context(), n)
			w.WriteHeader(http.StatusNoContent)
		}),
	}
}

func ofSCS() *overhead {
	m := scs.New()
	m.Store = memstore.NewWithCleanupInterval(0)
	return &overhead{
		through: m.LoadAndSave,
		fill: func(ctx context.Context, profile string) {
			m.Put(ctx, "visits", 1)
			m.Put(ctx, "profile", profile)
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
		fill: func(ctx context.Context, profile string) {
			with(ctx, func(sess *dynasession.Session) {
				sess.Set("visits", 1)
				sess.Set("profile", json.RawMessage(profile))
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

// sdkCalls gives the calls that ours makes, by the SDK alone.
func sdkCalls(tb testing.TB, client *dynamodb.Client) map[string]func() {
	key := "session_" + strings.Repeat("0", 64)
	data := newPerson(1, true).profile.json
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

func overheads(tb testing.TB) map[string]map[string]func() {
	ours, client := ofOurs(tb)
	none := &overhead{
		through: func(h http.Handler) http.Handler { return h },
		fill:    func(context.Context, string) {},
		read:    func(context.Context) bool { return true },
		change:  func(context.Context, int) {},
	}
	return map[string]map[string]func(){
		"none": none.requests(tb), "scs": ofSCS().requests(tb), "ours": ours.requests(tb), "sdk": sdkCalls(tb, client),
	}
}

func BenchmarkOverhead(b *testing.B) {
	all := overheads(b)
	for _, req := range []string{"alone", "alone-with-cookie", "read", "change"} {
		for _, via := range []string{"none", "scs", "ours", "sdk"} {
			if send := all[via][req]; send != nil {
				b.Run("req="+req+"/via="+via, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						send()
					}
				})
			}
		}
	}
}

// TestOverheadAllocations: without the SDK's, ours are a fraction of scs's.
func TestOverheadAllocations(t *testing.T) {
	all := overheads(t)
	allocs := map[string]float64{}
	for via, requests := range all {
		for req, send := range requests {
			send()
			allocs[via+" "+req] = testing.AllocsPerRun(200, send)
		}
	}
	for _, tc := range []struct {
		req  string
		part float64
	}{{"read", 8}, {"change", 6}} {
		ours := allocs["ours "+tc.req] - allocs["sdk "+tc.req]
		theirs := allocs["scs "+tc.req] - allocs["none "+tc.req]
		t.Log(tc.req + ": ours " + strconv.Itoa(int(ours)) + ", scs " + strconv.Itoa(int(theirs)))
		assert.LessOrEqual(t, ours, theirs/tc.part, tc.req)
	}
	for _, req := range []string{"alone", "alone-with-cookie"} {
		assert.LessOrEqual(t, allocs["ours "+req], allocs["none "+req]+4, req)
	}
}
