package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/dynamotest"
)

const testUsers = 5

// eachServer runs f on dynamotest, and on DynamoDB Local if DYNAMODB_LOCAL_ENDPOINT names one.
func eachServer(t *testing.T, f func(t *testing.T, endpoint string)) {
	t.Run("dynamotest", func(t *testing.T) {
		server := dynamotest.NewServer()
		t.Cleanup(server.Close)
		f(t, server.URL())
	})
	t.Run("local", func(t *testing.T) {
		endpoint := os.Getenv("DYNAMODB_LOCAL_ENDPOINT")
		if endpoint == "" {
			if os.Getenv("CI") == "true" {
				t.Fatal("DYNAMODB_LOCAL_ENDPOINT is not set: run the tests with make test")
			}
			t.Skip("DYNAMODB_LOCAL_ENDPOINT is not set: make test runs this against DynamoDB Local")
		}
		f(t, endpoint)
	})
}

// The calls that this library makes for one user's trace. No library can make fewer. Each request
// that loads a session by its cookie needs a GetItem: the sign-in has no cookie yet, and three pages
// do not load the session. Each request that changes the session needs a write, and the sign-out
// needs a DeleteItem.
const (
	loads   = len(pages) - 3 + 1
	changes = 1 + 3
)

// TestContest drives a smaller trace through all contestants. The proxy compares the units of each
// call with the item's size.
func TestContest(t *testing.T) {
	people := makePeople(testUsers, shop)
	eachServer(t, func(t *testing.T, endpoint string) {
		var results []*result
		for _, c := range contestants() {
			r, err := run(t.Context(), endpoint, c, people, 0)
			require.NoError(t, err)
			assert.Zero(t, r.Refused, c.short)
			assert.Equal(t, testUsers, r.Delete, c.short)
			results = append(results, r)
		}
		for _, short := range []string{ownDefault, ownEventual, ownUncompressed} {
			r := find(results, short)
			assert.Equal(t, testUsers*loads, r.Reads, short)
			assert.Equal(t, testUsers*changes, r.Puts, short)
			assert.Equal(t, map[string]int{
				"GetItem": testUsers * loads, "PutItem": testUsers, "UpdateItem": testUsers * (changes - 1), "DeleteItem": testUsers,
			}, r.Calls, short)
			want := float64(testUsers * loads)
			if short == ownEventual {
				want /= 2
			}
			assert.InDelta(t, want, r.ReadUnits, 0, short)
		}
		own, eventual := find(results, ownDefault).cost(), find(results, ownEventual).cost()
		idle, cheapest := cheapestOther(results, idleAndEnd), cheapestOther(results, "")
		assert.Equal(t, scsIdle, idle.short)
		assert.LessOrEqual(t, own, 0.26*idle.cost())
		for _, other := range []float64{cheapest.cost(), fiberStore} {
			assert.LessOrEqual(t, own, 0.85*other)
			assert.LessOrEqual(t, eventual, 0.65*other)
		}
		// The other libraries must cost what they cost elsewhere. If their stores in this package made
		// needless calls, the comparison would be unfair.
		for short, dollars := range map[string]float64{
			scsIdle: 1.035, "scs, IdleTimeout, strong reads": 1.092, "scs, eventual reads": 0.302, "scs, strong reads": 0.359,
			"gorilla/sessions, strong reads": 0.342, "PHP handler": 0.978, "PHP handler, locking": 1.685,
		} {
			assert.InDelta(t, dollars, find(results, short).cost(), 0.0006, short)
		}
	})
}

// TestScale checks that other sessions in the table change neither the calls nor the units.
func TestScale(t *testing.T) {
	eachServer(t, func(t *testing.T, endpoint string) {
		results, err := runScale(t.Context(), endpoint, makePeople(2, shop), []int{500}, io.Discard)
		require.NoError(t, err)
		require.Len(t, results, 2)
		assert.Equal(t, results[0].Calls, results[1].Calls)
		assert.InDelta(t, results[0].cost(), results[1].cost(), 0)
		assert.Positive(t, results[1].cost())
	})
}

func TestSweep(t *testing.T) {
	eachServer(t, func(t *testing.T, endpoint string) {
		var log bytes.Buffer
		s, err := runSweep(t.Context(), endpoint, 501, &log)
		require.NoError(t, err)
		assert.Contains(t, log.String(), "501 scanned, 251 deleted\n")
		assert.Equal(t, 501, s.Scanned)
		assert.Equal(t, 251, s.Expired)
		assert.Equal(t, 251, s.Deleted)
		assert.InDelta(t, 251, s.WriteUnits, 0, "each item is at most 1 KB")
		assert.InDelta(t, 501*750/8192.0, s.ReadUnits, 5, "a scan takes half a unit per 4 KB")
		assert.Contains(t, s.markdown(time.Now()), "501, 251, 251")
	})
}

// TestTouches drives one user through the trace in fake time, at several paces. A slower pace adds
// no calls but touches. The library makes one when TouchAfter has passed since it last wrote the
// expiry, and none before.
func TestTouches(t *testing.T) {
	for _, pace := range []time.Duration{time.Second, time.Minute, 5 * time.Minute, 6 * time.Minute, 10 * time.Minute} {
		t.Run(pace.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := dynamotest.NewServer()
				defer server.Close()
				require.NoError(t, createTable(t.Context(), server.Client(), "sessions", "id"))
				own := contestants()[0]
				require.Equal(t, ownDefault, own.short)
				site, err := own.site(server.Client(), "sessions", makePeople(1, shop))
				require.NoError(t, err)
				server.ResetCalls()

				paths := []string{visitPath + "?user=0&step=0", signInPath + "?user=0&step=0"}
				for step, page := range pages {
					paths = append(paths, "/"+string(page)+"?user=0&step="+string(rune('0'+step/10))+string(rune('0'+step%10)))
				}
				paths = append(paths, signOutPath+"?user=0&step=20")
				var cookies []*http.Cookie
				for _, path := range paths {
					r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
					for _, c := range cookies {
						r.AddCookie(c)
					}
					w := httptest.NewRecorder()
					site.ServeHTTP(w, r)
					require.Equal(t, "ok", w.Body.String(), path)
					if set := w.Result().Cookies(); len(set) > 0 {
						cookies = set
					}
					time.Sleep(pace)
				}
				calls := server.Calls()
				assert.Equal(t, loads, calls.Count("GetItem"))
				assert.Equal(t, 1, calls.Count("PutItem"))
				assert.Equal(t, changes-1+touches(pace), calls.Count("UpdateItem"))
				assert.Equal(t, 1, calls.Count("DeleteItem"))
				assert.Len(t, calls, loads+changes+1+touches(pace))
				_, units := calls.Units()
				assert.InDelta(t, changes+1+touches(pace), units, 0, "every compressed item takes one unit")
			})
		})
	}
	assert.Zero(t, touches(time.Second))
	assert.Equal(t, 1, touches(time.Minute))
	assert.Equal(t, len(pages)-6, touches(6*time.Minute), "every page that only reads makes one")
}

// TestApplication checks that the trace detects a library that loses, changes or invents values.
func TestApplication(t *testing.T) {
	people := makePeople(1, shop)
	fake := &fakeSession{values: map[string]string{}}
	app := &application{people: people, open: func(http.ResponseWriter, *http.Request) (session, error) { return fake, fake.err }}
	get := func(path string) int {
		w := httptest.NewRecorder()
		app.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		return w.Code
	}
	require.Equal(t, http.StatusOK, get("/visit?user=0&step=0"))
	require.Equal(t, http.StatusOK, get("/sign-in?user=0&step=0"))
	require.Equal(t, http.StatusOK, get("/r?user=0&step=2"))
	require.Equal(t, http.StatusInternalServerError, get("/visit?user=0&step=0"), "the session is not empty")
	require.Equal(t, http.StatusInternalServerError, get("/r?user=0&step=3"), "the first change is missing")
	require.Equal(t, http.StatusOK, get("/S?user=0&step=2"))
	require.Equal(t, http.StatusOK, get("/r?user=0&step=3"))
	fake.values["profile"] += " "
	require.Equal(t, http.StatusInternalServerError, get("/r?user=0&step=3"), "the profile has changed")
	require.Equal(t, http.StatusOK, get("/n?user=0&step=3"))
	require.Equal(t, http.StatusBadRequest, get("/r?user=1&step=3"))
	require.Equal(t, http.StatusBadRequest, get("/r"))
	fake.err = errors.New("no")
	require.Equal(t, http.StatusInternalServerError, get("/r?user=0&step=2"))
}

type fakeSession struct {
	values map[string]string
	err    error
}

func (s *fakeSession) get(key string) string { return s.values[key] }
func (s *fakeSession) set(key, json string)  { s.values[key] = json }
func (s *fakeSession) signIn(string)         {}
func (s *fakeSession) destroy()              { clear(s.values) }
func (s *fakeSession) save() error           { return nil }

// TestContent checks that the sessions have the sizes that README.md states.
func TestContent(t *testing.T) {
	for i, p := range makePeople(traceUsers, shop) {
		assert.InDelta(t, 560, len(p.profile.json), 30)
		size := 0
		for _, v := range p.after(len(pages)) {
			size += len(v.key) + len(v.json)
		}
		assert.InDelta(t, 2550, size, 110)
		assert.Len(t, p.after(len(pages)), 4)
		assert.Equal(t, p, newPerson(i, false), "the same in every run")
	}
	assert.NotEqual(t, newPerson(0, false).profile, newPerson(1, false).profile)
}

func TestProgram(t *testing.T) {
	server := dynamotest.NewServer()
	defer server.Close()
	dir := t.TempDir()
	var log bytes.Buffer
	require.NoError(t, start(t.Context(), []string{"-users", "2", "-out", dir, "-scale", "10,20", "-sweep", "100"}, server.URL(), &log))
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(b)
	}
	assert.Contains(t, read("trace.md"), "| dynasession | idle and absolute timeout | strong | 783 | 174 | 43 | 782.6 |")
	assert.Equal(t, len(contestants())+1, strings.Count(read("trace.csv"), "\n"))
	assert.Contains(t, read("scale.md"), "\n| 20 | 782.6 |")
	assert.Contains(t, read("sweep.md"), "| items scanned, expired, deleted | 100, 50, 50 |")

	picture := read("trace.svg")
	decoder := xml.NewDecoder(strings.NewReader(picture))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	for _, c := range contestants() {
		assert.Contains(t, picture, ">"+c.short+"</text>")
	}

	require.ErrorContains(t, start(t.Context(), nil, "", &log), "make bench")
	require.ErrorContains(t, start(t.Context(), []string{"-scale", "x"}, server.URL(), &log), "invalid value")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, start(ctx, []string{"-users", "1", "-out", dir}, server.URL(), &log), context.Canceled)
}

// TestProxy checks that the proxy hides its work from the library, and that it detects wrong units.
func TestProxy(t *testing.T) {
	server := dynamotest.NewServer()
	defer server.Close()
	client := server.Client()
	require.NoError(t, createTable(t.Context(), client, "table", "id"))
	lie := ""
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lie == "" {
			server.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, r)
		_, _ = io.WriteString(w, strings.Replace(answer.Body.String(), `"CapacityUnits":2`, lie, 1))
	}))
	defer target.Close()
	p := newProxy(target.URL, true)
	front := httptest.NewServer(p)
	defer front.Close()
	db := newClient(front.URL)

	name := "table"
	item := map[string]attribute{"id": text("a"), "n": number(120), "p": text(strings.Repeat("x", 1100))}
	put := &dynamodb.PutItemInput{TableName: &name, Item: item}
	out, err := db.PutItem(t.Context(), put)
	require.NoError(t, err)
	assert.Nil(t, out.ConsumedCapacity, "the caller did not ask for it")
	put.ReturnConsumedCapacity = "TOTAL"
	out, err = db.PutItem(t.Context(), put)
	require.NoError(t, err)
	assert.InDelta(t, 2, *out.ConsumedCapacity.CapacityUnits, 0)
	condition := "attribute_not_exists(id)"
	_, err = db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: item, ConditionExpression: &condition})
	require.ErrorContains(t, err, "ConditionalCheckFailed")
	got, err := db.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &name, Key: map[string]attribute{"id": text("a")}})
	require.NoError(t, err)
	assert.Equal(t, item, got.Item)
	_, err = db.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &name, Key: map[string]attribute{"id": text("a")}})
	require.NoError(t, err)
	counted, err := p.take()
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"PutItem": 3, "GetItem": 1, "DeleteItem": 1}, counted.Calls)
	assert.InDelta(t, 0.5, counted.ReadUnits, 0)
	assert.InDelta(t, 8, counted.WriteUnits, 0, "the refused put and the delete are billed by the item's size")
	assert.Equal(t, 1, counted.Refused)
	again, err := p.take()
	require.NoError(t, err)
	assert.Empty(t, again.Calls)

	lie = `"CapacityUnits":1`
	_, err = db.PutItem(t.Context(), put)
	require.NoError(t, err)
	_, err = p.take()
	require.EqualError(t, err, "PutItem of an item of 1107 bytes: got 1 units, want 2")

	_, err = db.TransactWriteItems(t.Context(), transaction(), func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 })
	require.ErrorContains(t, err, "502", "the proxy refuses what it cannot count")
}

func TestUnits(t *testing.T) {
	for n, want := range map[string]int{"0": 1, "1": 2, "12": 2, "123": 3, "1200": 2, "1764000000": 3, "1763999999": 6} {
		assert.Equal(t, want, numberSize(n), n)
	}
	for size, want := range map[int]float64{0: 1, 1: 1, 1024: 1, 1025: 2, 3072: 3, 3073: 4} {
		assert.InDelta(t, want, writeUnits(size), 0, "%d bytes", size)
	}
	assert.InDelta(t, 0.5, readUnits(4096, false), 0)
	assert.InDelta(t, 2, readUnits(4097, true), 0)
	assert.InDelta(t, 0.75, 1e6*dollars(1, 1), 1e-9)
	assert.Equal(t, "1,234,567", thousands(1234567))
	assert.Equal(t, "123", thousands(123))
}

func transaction() *dynamodb.TransactWriteItemsInput {
	name := "table"
	return &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: &name, Item: map[string]attribute{"id": text("b")}}},
	}}
}
