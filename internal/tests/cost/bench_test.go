package cost_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// What the library adds to the SDK, and the middleware to a handler. Compare with
//
//	go test -run='^$' -bench='Store|Middleware' -count=10 . | tee new.txt
//	go run golang.org/x/perf/cmd/benchstat@latest -col=/via -filter='.name:/Store/' new.txt

// aProduct is what a shop's session holds many of.
type aProduct struct {
	SKU   string    `json:"sku"`
	Title string    `json:"title"`
	URL   string    `json:"url"`
	Count int       `json:"quantity"`
	Price string    `json:"price"`
	Added time.Time `json:"added_at"`
}

// sessionOf makes a session's JSON of about so many bytes, the same at every run: a counter, a
// user, and as many products as fit, in keys of 8 each.
func sessionOf(size int) string {
	r := rand.New(rand.NewPCG(2026, 5))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	at := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	out := fmt.Sprintf(`{"visits":%d,"profile":{"id":"01J%020d","name":"%s %s","email":"customer.%d@example.org","locale":"de-DE","signed_in_at":%q}`,
		r.IntN(90), r.Uint64()>>1, pick("Amelia", "Giulia", "Hendrik"), pick("Hoffmann", "Moreau", "Lindqvist"), r.IntN(1e5), at.Format(time.RFC3339))
	var list []aProduct
	flush := func(n int) {
		if len(list) > 0 {
			b, _ := json.Marshal(list)
			out += fmt.Sprintf(`,"seen_%d":%s`, n, b)
			list = nil
		}
	}
	for n := 0; len(out)+len(list)*250 < size-200; n++ {
		at = at.Add(time.Duration(r.IntN(200)) * time.Second)
		title := pick("Organic Cotton", "Stainless Steel", "Wireless", "Foldable") + " " + pick("Water Bottle", "T-Shirt", "Camping Chair", "Desk Lamp")
		sku := strconv.Itoa(1e7 + r.IntN(9e7))
		list = append(list, aProduct{
			SKU: sku, Title: title, Count: 1 + r.IntN(3), Price: fmt.Sprintf("%d.99 EUR", r.IntN(200)), Added: at,
			URL: "https://www.example.com/p/" + strings.ReplaceAll(strings.ToLower(title), " ", "-") + "-" + sku + "?ref=" + strconv.FormatUint(r.Uint64(), 36),
		})
		if n%8 == 7 {
			flush(n / 8)
		}
	}
	flush(-1)
	return out + "}"
}

var benchSizes = []struct {
	name  string
	bytes int
}{{"size=200B", 200}, {"size=1KB", 1000}, {"size=4KB", 4000}, {"size=40KB", 40_000}}

// benchID is the id of the one session that stubTransport has.
const benchID = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

func benchKey() string { return fmt.Sprintf("session_%x", sha256.Sum256([]byte(benchID))) }

// stubTransport is an HTTP client without a network: every GetItem gets the same item, every
// write an empty answer.
type stubTransport struct {
	item, none []byte
	itemHeader http.Header
	noneHeader http.Header
}

func newStub(data string) *stubTransport {
	s := &stubTransport{none: []byte("{}")}
	now := time.Now().Unix()
	quoted, _ := json.Marshal(data)
	s.item = fmt.Appendf(nil, `{"Item":{"id":{"S":%q},"expires":{"N":"%d"},"born":{"N":"%d"},"until":{"N":"%d"},"rev":{"N":"7"},`+
		`"w":{"S":"aaaaaaaabbbbbbbbccccccccdddddddd"},"user":{"S":"01J8Z2"},"auth":{"N":"%d"},"data":{"S":%s}}}`, benchKey(), now+3600, now, now+86400, now, quoted)
	header := func(body []byte) http.Header {
		return http.Header{
			"Content-Type": {"application/x-amz-json-1.0"}, "X-Amzn-Requestid": {"QK1TTB3V5G0000000000000000VV4KQNSO5AEMVJF66Q9ASUAAJG"},
			"X-Amz-Crc32": {strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)},
			"Date":        {time.Now().UTC().Format(http.TimeFormat)},
		}
	}
	s.itemHeader, s.noneHeader = header(s.item), header(s.none)
	return s
}

func (s *stubTransport) Do(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	body, header := s.none, s.noneHeader
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetItem") {
		body, header = s.item, s.itemHeader
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: header, Request: r,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// bareStore is the SDK alone, and the Store on top of it.
type bareStore struct {
	client *dynamodb.Client
	store  *dynasession.Store
	id     string
	key    string
	data   string
	bytes  []byte // data
}

func newBareStore(t testing.TB, size int) *bareStore {
	b := &bareStore{data: sessionOf(size)}
	b.bytes = []byte(b.data)
	cfg := stage.AWSConfig("https://dynamodb.us-east-1.amazonaws.com")
	cfg.HTTPClient = newStub(b.data)
	b.client = dynamodb.NewFromConfig(cfg)
	var err error
	b.store, err = dynasession.New(b.client, dynasession.Config{NoCompression: true})
	require.NoError(t, err)
	b.id, b.key = benchID, benchKey()
	return b
}

func (b *bareStore) storeRead(ctx context.Context) error {
	_, err := b.store.Read(ctx, b.id)
	return err
}

func (b *bareStore) storeWrite(ctx context.Context) error {
	return b.store.Write(ctx, b.id, b.bytes)
}

// sdkRead is the call that Store.Read makes.
func (b *bareStore) sdkRead(ctx context.Context) error {
	table := "sessions"
	_, err := b.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &table, ConsistentRead: aws.Bool(true), Key: map[string]types.AttributeValue{"id": stage.Str(b.key)},
	})
	return err
}

// sdkWrite is the call that Store.Write makes.
func (b *bareStore) sdkWrite(ctx context.Context) error {
	table := "sessions"
	update := "SET #e = :e, #d = :d ADD #r :one"
	condition := "attribute_not_exists(#mv) AND #e > :now AND (attribute_not_exists(#u) OR #u > :now)" +
		" AND (attribute_exists(#n) OR attribute_not_exists(#b) OR #b > :oldest) AND #e <= :e AND (attribute_not_exists(#u) OR #u >= :e) AND attribute_not_exists(#n)"
	now := time.Now().Unix()
	n := func(v int64) types.AttributeValue { return stage.Num(strconv.FormatInt(v, 10)) }
	_, err := b.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &table, Key: map[string]types.AttributeValue{"id": stage.Str(b.key)},
		UpdateExpression: &update, ConditionExpression: &condition,
		ExpressionAttributeNames: map[string]string{"#e": "expires", "#d": "data", "#r": "rev", "#u": "until", "#n": "idle", "#b": "born", "#mv": "moved"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":e": n(now + 3600), ":d": stage.Str(b.data), ":one": stage.Num("1"), ":now": n(now), ":oldest": n(now - 86400),
		},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	return err
}

func BenchmarkStore(b *testing.B) {
	for _, size := range benchSizes {
		s := newBareStore(b, size.bytes)
		for _, bench := range []struct {
			name string
			call func(context.Context) error
		}{
			{"op=read/via=sdk", s.sdkRead}, {"op=read/via=store", s.storeRead},
			{"op=write/via=sdk", s.sdkWrite}, {"op=write/via=store", s.storeWrite},
		} {
			benchEach(b, size.name+"/"+bench.name, bench.call)
		}
	}
}

// BenchmarkStoreRatio takes turns with the SDK, so that whatever slows the machine slows both, and
// compares the turns' medians. x/sdk is the Store's time over the SDK's.
func BenchmarkStoreRatio(b *testing.B) {
	const turn = 50
	for _, size := range benchSizes {
		s := newBareStore(b, size.bytes)
		for _, op := range []struct {
			name       string
			sdk, store func(context.Context) error
		}{{"read", s.sdkRead, s.storeRead}, {"write", s.sdkWrite, s.storeWrite}} {
			b.Run(size.name+"/op="+op.name, func(b *testing.B) {
				var turns [2][]time.Duration
				for b.Loop() {
					for i, call := range []func(context.Context) error{op.sdk, op.store} {
						begin := time.Now()
						for range turn {
							if err := call(context.Background()); err != nil {
								b.Fatal(err)
							}
						}
						turns[i] = append(turns[i], time.Since(begin))
					}
				}
				for i := range turns {
					slices.Sort(turns[i])
				}
				b.ReportMetric(turns[1][len(turns[1])/2].Seconds()/turns[0][len(turns[0])/2].Seconds(), "x/sdk")
			})
		}
	}
}

// discard is a ResponseWriter that keeps nothing but a header.
type discard struct{ header http.Header }

func (w *discard) Header() http.Header { return w.header }

func (w *discard) Write(b []byte) (int, error) { return len(b), nil }

func (w *discard) WriteHeader(int) {}

type benchRequest struct {
	name   string
	cookie bool
	handle http.HandlerFunc
	sdk    func(*bareStore, context.Context) error // the calls that it makes
}

var benchRequests = []benchRequest{
	{"alone", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, nil},
	{"alone-with-cookie", true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, nil},
	{"read", true, func(w http.ResponseWriter, r *http.Request) {
		if sess, err := dynasession.Load(r.Context()); err == nil {
			if _, ok := dynasession.Get[int](sess, "visits"); ok {
				w.WriteHeader(http.StatusNoContent)
			}
		}
	}, (*bareStore).sdkRead},
	{"change", true, func(w http.ResponseWriter, r *http.Request) {
		if sess, err := dynasession.Load(r.Context()); err == nil {
			sess.Set("visits", 100)
			w.WriteHeader(http.StatusNoContent)
		}
	}, func(b *bareStore, ctx context.Context) error {
		if err := b.sdkRead(ctx); err != nil {
			return err
		}
		return b.sdkSave(ctx)
	}},
}

// sdkSave is the call that saves a session which had the item of newStub.
func (b *bareStore) sdkSave(ctx context.Context) error {
	table := "sessions"
	update := "SET #e = :e, #w = :w, #r = :r1, #d = :d"
	condition := "#e > :now AND begins_with(#w, :c) AND #r = :r"
	now := time.Now().Unix()
	n := func(v int64) types.AttributeValue { return stage.Num(strconv.FormatInt(v, 10)) }
	_, err := b.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &table, Key: map[string]types.AttributeValue{"id": stage.Str(b.key)},
		UpdateExpression: &update, ConditionExpression: &condition,
		ExpressionAttributeNames: map[string]string{"#e": "expires", "#w": "w", "#r": "rev", "#d": "data"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":e": n(now + 3600), ":w": stage.Str("aaaaaaaaeeeeeeeebbbbbbbbcccccccc"), ":r1": n(8), ":d": stage.Str(b.data),
			":now": n(now), ":c": stage.Str("aaaaaaaa"), ":r": n(7),
		},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	return err
}

// run returns a function that sends one request through h.
func (b *bareStore) run(h http.Handler, cookie bool) func(context.Context) error {
	r, _ := http.NewRequest(http.MethodGet, "https://shop.example.com/", http.NoBody)
	if cookie {
		r.Header.Set("Cookie", "theme=dark; __Host-Http-session="+b.id+"; consent=1")
	}
	return func(context.Context) error {
		h.ServeHTTP(&discard{header: http.Header{}}, r)
		return nil
	}
}

// vias are the ways of a request: through the middleware, and, for what it costs, without it, and
// the SDK's calls alone.
func (b *bareStore) vias(q benchRequest) map[string]func(context.Context) error {
	vias := map[string]func(context.Context) error{"middleware": b.run(b.store.Middleware(q.handle), q.cookie)}
	if q.sdk == nil {
		vias["none"] = b.run(q.handle, q.cookie)
	} else {
		vias["sdk"] = func(ctx context.Context) error { return q.sdk(b, ctx) }
	}
	return vias
}

func BenchmarkMiddleware(b *testing.B) {
	for _, size := range benchSizes {
		s := newBareStore(b, size.bytes)
		for _, q := range benchRequests {
			if q.sdk == nil && size != benchSizes[0] {
				continue // nothing is loaded
			}
			vias := s.vias(q)
			for _, via := range slices.Sorted(maps.Keys(vias)) {
				benchEach(b, size.name+"/req="+q.name+"/via="+via, vias[via])
			}
		}
	}
}

// overLoopback is a store whose DynamoDB is a server on the loopback interface, which answers every
// GetItem with the same item.
func overLoopback(b *testing.B, data string) *dynasession.Store {
	stub := newStub(data)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := stub.Do(r)
		if err != nil {
			b.Error(err)
			return
		}
		maps.Copy(w.Header(), resp.Header)
		_, _ = io.Copy(w, resp.Body)
	}))
	b.Cleanup(server.Close)
	store, err := dynasession.New(dynasession.NewClient(stage.AWSConfig(server.URL)), dynasession.Config{})
	require.NoError(b, err)
	return store
}

// BenchmarkLoopback is a request that reads a session, with DynamoDB over loopback: its profile
// tells whose the time is.
//
//	go test -run='^$' -bench=Loopback -cpuprofile=cpu.out . && go tool pprof -focus='Middleware' -top -cum cpu.out
func BenchmarkLoopback(b *testing.B) {
	store := overLoopback(b, sessionOf(1000))
	q := benchRequests[2]
	send := (&bareStore{id: benchID}).run(store.Middleware(q.handle), q.cookie)
	require.NoError(b, send(context.Background())) // connects
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, send(context.Background()))
	}
}

// BenchmarkInFlight reports what the middleware holds for a request while its handler runs, in bytes
// of heap.
func BenchmarkInFlight(b *testing.B) {
	const requests = 2000
	for _, size := range benchSizes {
		s := newBareStore(b, size.bytes)
		for _, q := range benchRequests {
			if q.sdk == nil && size != benchSizes[0] {
				continue // nothing is loaded
			}
			b.Run(size.name+"/req="+q.name, func(b *testing.B) {
				var held float64
				for b.Loop() {
					held += float64(inFlight(s, q, s.store.Middleware, requests)) - float64(inFlight(s, q, func(h http.Handler) http.Handler { return h }, requests))
				}
				b.ReportMetric(held/float64(b.N)/requests, "B/request")
			})
		}
	}
}

// inFlight returns what so many requests hold that have done what q does, and have not answered.
func inFlight(s *bareStore, q benchRequest, through func(http.Handler) http.Handler, requests int) uint64 {
	var arrived, gone sync.WaitGroup
	end := make(chan struct{})
	send := s.run(through(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q.handle(&discard{header: http.Header{}}, r)
		arrived.Done()
		<-end
		w.WriteHeader(http.StatusNoContent)
	})), q.cookie)
	before := heapInUse()
	arrived.Add(requests)
	for range requests {
		gone.Go(func() { _ = send(context.Background()) })
	}
	arrived.Wait()
	held := heapInUse() - before
	close(end)
	gone.Wait()
	return held
}

// heapInUse returns the bytes of live objects.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // what the first one took out of pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func benchEach(b *testing.B, name string, call func(context.Context) error) {
	b.Run(name+"/mode=one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := call(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(name+"/mode=parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := call(context.Background()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
