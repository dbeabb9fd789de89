package phpsession_test

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/phpsession"
)

// local returns a client of DynamoDB Local.
func local(t testing.TB) *dynamodb.Client {
	endpoint := os.Getenv("DYNAMODB_LOCAL_ENDPOINT")
	if endpoint == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("DYNAMODB_LOCAL_ENDPOINT is not set: run the tests with make test")
		}
		t.Skip("DYNAMODB_LOCAL_ENDPOINT is not set: make test runs this against DynamoDB Local")
	}
	return dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// eachBackend runs f on the embedded DynamoDB, in a bubble where no time is lost with waiting, and on DynamoDB Local.
func eachBackend(t *testing.T, f func(t *testing.T, client *dynamodb.Client)) {
	t.Helper()
	t.Run("dynamotest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := dynamotest.NewServer()
			defer srv.Close()
			f(t, srv.Client())
		})
	})
	t.Run("local", func(t *testing.T) { f(t, local(t)) })
}

type item = map[string]types.AttributeValue

// shared is a table that PHP's handler and Go share, and one session in it.
type shared struct {
	t      *testing.T
	client *dynamodb.Client
	cfg    dynasession.Config
	store  *dynasession.Store
	id     string
	err    error // of Load, in the last request
}

const phpID = "0123456789abcdef0123456789abcdef"

func share(t *testing.T, client *dynamodb.Client, cfg dynasession.Config) *shared {
	t.Helper()
	cfg.Table = "test-" + rand.Text()
	cfg.Logger = slog.New(slog.DiscardHandler)
	if cfg.Attributes.ID == "" {
		cfg.Attributes = dynasession.Attributes{ID: "id", Data: "data", Expires: "expires"}
	}
	store, err := dynasession.New(client, cfg)
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	return &shared{t: t, client: client, cfg: cfg, store: store, id: phpID}
}

func (sh *shared) key() item {
	key := strings.Trim(sh.cfg.Name+"_"+sh.id, "_")
	return item{sh.cfg.Attributes.ID: &types.AttributeValueMemberS{Value: key}}
}

func (sh *shared) put(it item) {
	sh.t.Helper()
	_, err := sh.client.PutItem(sh.t.Context(), &dynamodb.PutItemInput{TableName: &sh.cfg.Table, Item: it})
	require.NoError(sh.t, err)
}

func (sh *shared) item() item {
	sh.t.Helper()
	out, err := sh.client.GetItem(sh.t.Context(), &dynamodb.GetItemInput{TableName: &sh.cfg.Table, Key: sh.key(), ConsistentRead: aws.Bool(true)})
	require.NoError(sh.t, err)
	return out.Item
}

// data returns what PHP's handler reads of an item.
func (sh *shared) data(it item) []byte {
	switch d := it[sh.cfg.Attributes.Data].(type) {
	case *types.AttributeValueMemberS:
		return []byte(d.Value)
	case *types.AttributeValueMemberB:
		return d.Value
	}
	return nil
}

func (sh *shared) expires(it item) int64 {
	sh.t.Helper()
	n, ok := it[sh.cfg.Attributes.Expires].(*types.AttributeValueMemberN)
	require.True(sh.t, ok, "the expiry is a number")
	at, err := strconv.ParseInt(n.Value, 10, 64)
	require.NoError(sh.t, err)
	return at
}

// request is a request of the session's browser to Go. It returns the status.
func (sh *shared) request(handler func(s *dynasession.Session)) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(sh.t.Context(), http.MethodGet, "https://shop.example.com/", http.NoBody)
	if sh.id != "" {
		r.AddCookie(&http.Cookie{Name: sh.cfg.Cookie.Name, Value: sh.id})
	}
	w := httptest.NewRecorder()
	sh.store.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var s *dynasession.Session
		if s, sh.err = dynasession.Load(r.Context()); sh.err == nil {
			handler(s)
		}
	})).ServeHTTP(w, r)
	return w
}

// phpLocks is the read of PHP's handler with locking on: it returns false if another holds the lock.
func (sh *shared) phpLocks() bool {
	sh.t.Helper()
	_, err := sh.client.UpdateItem(sh.t.Context(), &dynamodb.UpdateItemInput{
		TableName: &sh.cfg.Table, Key: sh.key(), ReturnValues: types.ReturnValueAllNew,
		Expected:         map[string]types.ExpectedAttributeValue{"lock": {Exists: aws.Bool(false)}},
		AttributeUpdates: map[string]types.AttributeValueUpdate{"lock": {Value: &types.AttributeValueMemberN{Value: "1"}}},
	})
	refused := (*types.ConditionalCheckFailedException)(nil)
	if !errors.As(err, &refused) {
		require.NoError(sh.t, err)
	}
	return err == nil
}

// phpWrites is the write of PHP's handler, at the end of each request: it has no condition. Without data
// it changes none.
func (sh *shared) phpWrites(data string) {
	sh.t.Helper()
	expires := strconv.FormatInt(time.Now().Add(sh.cfg.IdleTimeout).Unix(), 10)
	update := map[string]types.AttributeValueUpdate{
		"expires": {Value: &types.AttributeValueMemberN{Value: expires}},
		"lock":    {Action: types.AttributeActionDelete},
	}
	if data != "" {
		update["data"] = types.AttributeValueUpdate{Value: &types.AttributeValueMemberS{Value: data}}
		if sh.cfg.BinaryData {
			update["data"] = types.AttributeValueUpdate{Value: &types.AttributeValueMemberB{Value: []byte(data)}}
		}
	}
	_, err := sh.client.UpdateItem(sh.t.Context(), &dynamodb.UpdateItemInput{TableName: &sh.cfg.Table, Key: sh.key(), AttributeUpdates: update})
	require.NoError(sh.t, err)
}

func (sh *shared) phpDestroys() {
	sh.t.Helper()
	_, err := sh.client.DeleteItem(sh.t.Context(), &dynamodb.DeleteItemInput{TableName: &sh.cfg.Table, Key: sh.key()})
	require.NoError(sh.t, err)
}

// sdkVector is a session that the AWS SDK for PHP has kept in DynamoDB Local, step by step.
type sdkVector struct {
	Name        string
	SessionName string `json:"session_name"`
	SessionID   string `json:"session_id"`
	HashKey     string `json:"hash_key"`
	Key         string
	Handler     string `json:"serialize_handler"`
	Type        string `json:"data_attribute_type"`
	Locking     bool
	Steps       []struct {
		Now     int64
		Between sdkItem `json:"item_between_read_and_write"`
		After   sdkItem `json:"item_after"`
	}
}

type sdkItem map[string]struct {
	S, N string
	B    []byte
}

func (s sdkItem) item() item {
	out := item{}
	for name, v := range s {
		switch {
		case v.N != "":
			out[name] = &types.AttributeValueMemberN{Value: v.N}
		case v.B != nil:
			out[name] = &types.AttributeValueMemberB{Value: v.B}
		default:
			out[name] = &types.AttributeValueMemberS{Value: v.S}
		}
	}
	return out
}

func (v *sdkVector) config() dynasession.Config {
	cfg := phpsession.Config(v.SessionName)
	cfg.Codec = codecs[v.Handler]
	cfg.BinaryData = v.Type == "binary"
	if v.HashKey == "sid" {
		cfg.Attributes = dynasession.Attributes{ID: "sid", Data: "payload", Expires: "ttl"}
	}
	if v.Locking {
		cfg.Concurrency = dynasession.Lock
	}
	return cfg
}

// usable reports whether it is a session that PHP would make. 17 are not, and only show how the handler joins names and
// ids: they have no session.name, which PHP always has, or an id below 22 characters, the least of PHP's sid_length.
// In the table of its own the ids are short too, and are made longer.
func (v *sdkVector) usable() bool {
	return v.SessionName != "" && (len(v.SessionID) >= 22 || v.HashKey == "sid")
}

// place returns the item of a vector as it belongs into the table of sh, and makes it the session of sh.
func (v *sdkVector) place(sh *shared, s sdkItem) item {
	out := s.item()
	sh.id = v.SessionID
	if v.HashKey == "sid" {
		sh.id += strings.Repeat("0", 32-len(v.SessionID))
		out["sid"] = sh.key()["sid"]
	}
	require.Equal(sh.t, out[v.HashKey], sh.key()[v.HashKey])
	return out
}

// TestSDKItems: what the AWS SDK for PHP has stored is a live session of Go, and what Go leaves of it is one of PHP.
func TestSDKItems(t *testing.T) {
	workers := map[string]*realPHP{}
	for handler := range codecs {
		workers[handler] = startPHP(t, handler)
	}
	// What PHP makes of data before and after is asked outside of the bubbles.
	type outcome struct {
		handler, name string
		before, after []byte
	}
	for _, backend := range []string{"dynamotest", "local"} {
		t.Run(backend, func(t *testing.T) {
			var outcomes []outcome
			run := func(t *testing.T, client *dynamodb.Client) {
				tables := map[string]*shared{} // one for all that have the same settings
				sessions := 0
				all := vectors[sdkVector](t, "php-sdk-items.json")
				for i := range 4 { // steps: the fifth destroys the session
					for _, v := range all {
						if !v.usable() {
							continue
						}
						settings := strings.Join([]string{v.SessionName, v.Handler, v.Type, v.HashKey, strconv.FormatBool(v.Locking)}, " ")
						if tables[settings] == nil {
							tables[settings] = share(t, client, v.config())
						}
						sh := tables[settings]
						stored := v.place(sh, v.Steps[i].After)
						now := v.Steps[i].Now
						if backend == "local" { // which runs by the real clock
							stored[sh.cfg.Attributes.Expires] = &types.AttributeValueMemberN{
								Value: strconv.FormatInt(time.Now().Unix()+sh.expires(stored)-now, 10),
							}
						} else {
							time.Sleep(time.Until(time.Unix(now, 0)))
						}
						sh.put(stored)
						sessions++
						name := v.Name + " step " + strconv.Itoa(i+1)
						outcomes = append(outcomes, outcome{v.Handler, name, sh.data(stored), sh.liveSession(name, stored)})
					}
				}
				require.Equal(t, 4*(len(all)-17), sessions)
			}
			if backend == "local" {
				run(t, local(t))
			} else {
				synctest.Test(t, func(t *testing.T) {
					srv := dynamotest.NewServer()
					defer srv.Close()
					run(t, srv.Client())
				})
			}
			for _, o := range outcomes {
				php := workers[o.handler]
				want := described(php.ask("describe", php.change(o.before, `$s["go"] = ["was here"];`).Data, "").Description)
				got := php.ask("describe", o.after, "")
				require.Empty(t, got.Error, o.name)
				require.Equal(t, want, described(got.Description), o.name)
			}
		})
	}
}

// liveSession has Go read what is stored, and then set one key. It returns the data afterwards.
func (sh *shared) liveSession(name string, stored item) []byte {
	t := sh.t
	t.Helper()
	var want []dynasession.KeyValue
	if data := sh.data(stored); data != nil {
		var err error
		want, err = sh.cfg.Codec.Split(data)
		require.NoError(t, err, name)
	}
	seen := false
	sh.request(func(s *dynasession.Session) {
		seen = true
		require.Equal(t, sh.id, s.ID(), name)
		for _, kv := range want {
			var v, stored phpsession.Value
			require.NoError(t, s.Decode(kv.Key, &v), name)
			require.NoError(t, sh.cfg.Codec.Unmarshal(kv.Value, &stored), name)
			require.Equal(t, stored, v, name)
		}
		require.Len(t, s.Keys(), len(want), name)
	})
	require.True(t, seen, name)
	read := sh.item()
	require.Equal(t, stored, withoutOwn(read), "%s: who only reads changes nothing", name)

	require.Equal(t, http.StatusOK, sh.request(func(s *dynasession.Session) { s.Set("go", []string{"was here"}) }).Code, name)
	after := sh.item()
	php := withoutOwn(after)
	require.Equal(t, stored["lock"], php["lock"], "%s: PHP's lock stays", name)
	delete(php, "lock")
	require.Len(t, php, 3, name)
	require.Contains(t, php, sh.cfg.Attributes.ID, name)
	require.GreaterOrEqual(t, sh.expires(php), sh.expires(stored), name)
	require.LessOrEqual(t, sh.expires(php), time.Now().Add(sh.cfg.IdleTimeout).Unix(), name)
	_, binary := php[sh.cfg.Attributes.Data].(*types.AttributeValueMemberB)
	require.Equal(t, sh.cfg.BinaryData || !utf8.Valid(sh.data(php)), binary, name)
	return sh.data(php)
}

// TestSDKLockedItems: the items as they are while PHP holds them. To Merge they are sessions like any other, as to PHP with locking off.
// Under Lock they wait: until PHP has written, or until LockWait is over.
func TestSDKLockedItems(t *testing.T) {
	t.Parallel()
	locked := 0
	for _, v := range vectors[sdkVector](t, "php-sdk-items.json") {
		if !v.usable() || !v.Locking {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			srv := dynamotest.NewServer()
			defer srv.Close()
			cfg := v.config()
			cfg.LockWait = time.Second
			locking := share(t, srv.Client(), cfg)
			cfg.Concurrency = dynasession.Merge
			merging := share(t, srv.Client(), cfg)
			for i, step := range v.Steps {
				name := v.Name + " step " + strconv.Itoa(i+1)
				time.Sleep(time.Until(time.Unix(step.Now, 0)))
				stored := v.place(merging, step.Between)
				require.Contains(t, stored, "lock", name)
				locked++
				merging.put(stored)
				v.place(locking, step.Between)
				locking.put(stored)
				if i == 0 { // PHP's first visit: with nothing but the key and the lock it is no session yet
					for _, sh := range []*shared{merging, locking} {
						sh.request(func(s *dynasession.Session) { require.True(t, s.IsNew(), name) })
						require.NoError(t, sh.err, name)
						require.Equal(t, stored, sh.item(), name)
					}
					continue
				}
				merging.liveSession(name, stored)

				start := time.Now()
				w := locking.request(func(*dynasession.Session) { require.Fail(t, "it is PHP's", name) })
				require.Equal(t, http.StatusServiceUnavailable, w.Code, name)
				require.ErrorIs(t, locking.err, dynasession.ErrLocked, name)
				require.Equal(t, cfg.LockWait, time.Since(start), name)
				after := locking.item()
				require.Contains(t, after, "lock", name)
				require.False(t, locking.phpLocks(), name)
				for _, attribute := range []string{v.HashKey, cfg.Attributes.Data, cfg.Attributes.Expires} {
					require.Equal(t, stored[attribute], after[attribute], name)
				}

				var written item
				if step.After != nil {
					written = v.place(locking, step.After)
				}
				go func() {
					time.Sleep(300 * time.Millisecond)
					if written == nil {
						locking.phpDestroys()
						return
					}
					locking.put(written)
				}()
				start = time.Now()
				locking.request(func(s *dynasession.Session) { require.Equal(t, step.After == nil, s.IsNew(), name) })
				require.NoError(t, locking.err, name)
				require.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond, name)
				synctest.Wait()
			}
		})
	}
	require.Equal(t, 5*83, locked)
}

// withoutOwn leaves out the attributes that only Go knows, which PHP's handler leaves alone.
func withoutOwn(it item) item {
	out := item{}
	for name, v := range it {
		switch name {
		case "rev", "w", "born", "until":
		default:
			out[name] = v
		}
	}
	return out
}

// TestPHPWritesInBetween: PHP's handler asks nothing, and knows nothing of rev, w and holder. No write of Go takes its
// item for another.
func TestPHPWritesInBetween(t *testing.T) {
	const both = `a|i:1;b|i:2;`
	cases := []struct {
		name    string
		between func(sh *shared)
		// what Go's request that sets c leaves then, by policy, and its status
		merge, lock, last string
		mergeStatus       int
		lockStatus        int
		lastStatus        int
	}{
		{"nothing", func(*shared) {}, `a|i:1;c|i:3;`, `a|i:1;c|i:3;`, `a|i:1;c|i:3;`, 200, 200, 200},
		{"a page that only reads", func(sh *shared) { sh.phpWrites("") }, `a|i:1;c|i:3;`, `a|i:1;`, `a|i:1;c|i:3;`, 200, 409, 200},
		{"another key", func(sh *shared) { sh.phpWrites(both) }, both + `c|i:3;`, both, `a|i:1;c|i:3;`, 200, 409, 200},
		{"two pages", func(sh *shared) { sh.phpWrites(`a|i:7;`); sh.phpWrites(both) }, both + `c|i:3;`, both, `a|i:1;c|i:3;`, 200, 409, 200},
		{"the same key", func(sh *shared) { sh.phpWrites(`a|i:1;c|i:9;`) }, `a|i:1;c|i:3;`, `a|i:1;c|i:9;`, `a|i:1;c|i:3;`, 200, 409, 200},
		{"a logout", func(sh *shared) { sh.phpDestroys() }, ``, ``, ``, 409, 409, 409},
	}
	eachBackend(t, func(t *testing.T, client *dynamodb.Client) {
		for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins} {
			cfg := phpsession.Config("")
			cfg.Concurrency = policy
			sh := share(t, client, cfg)
			for _, c := range cases {
				for _, by := range []string{"PHP", "Go"} { // an item of Go's has a rev, which PHP leaves as it is
					name := policy.String() + ": " + c.name + ", on an item of " + by
					sh.t = t
					sh.phpDestroys()
					sh.phpWrites(`a|i:1;`)
					if by == "Go" {
						require.Equal(t, 200, sh.request(func(s *dynasession.Session) { s.Set("a", 2) }).Code, name)
						require.Equal(t, 200, sh.request(func(s *dynasession.Session) { s.Set("a", 1) }).Code, name)
						require.Contains(t, sh.item(), "rev", name)
					}
					w := sh.request(func(s *dynasession.Session) {
						c.between(sh)
						s.Set("c", 3)
					})
					data, status := c.merge, c.mergeStatus
					switch policy {
					case dynasession.Lock:
						data, status = c.lock, c.lockStatus
					case dynasession.LastWriteWins:
						data, status = c.last, c.lastStatus
					}
					assert.Equal(t, status, w.Code, name)
					after := sh.item()
					assert.Equal(t, data, string(sh.data(after)), name)
					assert.NotContains(t, after, "lock", name)
				}
			}
		}
	})
}

// TestLocksExcludeEachOther: PHP's lock and Go's are the same attribute.
func TestLocksExcludeEachOther(t *testing.T) {
	eachBackend(t, func(t *testing.T, client *dynamodb.Client) {
		cfg := phpsession.Config("")
		cfg.Concurrency = dynasession.Lock
		cfg.LockWait = 3 * time.Second
		sh := share(t, client, cfg)
		sh.phpWrites(`n|i:1;`)

		// PHP before Go: Go waits, and then reads what PHP has written.
		require.True(t, sh.phpLocks())
		go func() {
			time.Sleep(300 * time.Millisecond)
			sh.phpWrites(`n|i:2;`)
		}()
		count := func(s *dynasession.Session) { dynasession.Update(s, "n", func(n int) int { return n + 1 }) }
		require.Equal(t, 200, sh.request(count).Code)
		require.Equal(t, `n|i:3;`, string(sh.data(sh.item())))

		// Go before PHP: the lock is PHP's as soon as Go has saved.
		require.Equal(t, 200, sh.request(func(s *dynasession.Session) {
			count(s)
			require.False(t, sh.phpLocks())
			require.False(t, sh.phpLocks())
		}).Code)
		require.Equal(t, `n|i:4;`, string(sh.data(sh.item())))
		require.True(t, sh.phpLocks())

		// PHP works for longer than Go waits: an error, not an empty session.
		called := false
		require.Equal(t, http.StatusServiceUnavailable, sh.request(func(*dynasession.Session) { called = true }).Code)
		require.False(t, called)
		sh.phpWrites(`n|i:5;`)
		require.Equal(t, 200, sh.request(count).Code)
		require.Equal(t, `n|i:6;`, string(sh.data(sh.item())))

		// PHP has waited long enough, and reads past Go's lock, whose save is then refused.
		require.Equal(t, http.StatusConflict, sh.request(func(s *dynasession.Session) {
			count(s)
			require.False(t, sh.phpLocks())
			sh.phpWrites(`n|i:50;`)
			require.True(t, sh.phpLocks(), "it has taken Go's lock away")
		}).Code)
		require.Equal(t, `n|i:50;`, string(sh.data(sh.item())))
		require.False(t, sh.phpLocks(), "Go has not taken PHP's lock away")
	})
}

// TestConfig: the cookie is PHP's, and safe.
func TestConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.NewServer()
		defer srv.Close()
		sh := share(t, srv.Client(), phpsession.Config("CAKEPHP"))
		sh.id = ""
		w := sh.request(func(s *dynasession.Session) { s.Set("a", "b") })
		cookies := w.Result().Cookies()
		require.Len(t, cookies, 1)
		c := cookies[0]
		assert.Regexp(t, `^[0-9A-Za-z,-]{22,256}$`, c.Value, "an id that PHP takes")
		assert.Equal(t, "CAKEPHP="+c.Value+"; Path=/; HttpOnly; Secure; SameSite=Lax", c.Raw, "it ends with the browser, as PHP's")
		sh.id = c.Value
		it := sh.item()
		assert.Equal(t, `a|s:1:"b";`, string(sh.data(it)))
		assert.Equal(t, time.Now().Add(1440*time.Second).Unix(), sh.expires(it))

		// As long as it is used it lives, as PHP's.
		for range 1000 {
			time.Sleep(20 * time.Minute)
			require.Equal(t, http.StatusOK, sh.request(func(s *dynasession.Session) {
				_, ok := dynasession.Get[string](s, "a")
				require.True(t, ok)
			}).Code)
		}
		time.Sleep(25 * time.Minute)
		sh.request(func(s *dynasession.Session) { require.True(t, s.IsNew()) })
		// An id that nobody made is not adopted.
		sh.id = strings.Repeat("a", 32)
		sh.request(func(s *dynasession.Session) { s.Set("a", 1) })
		require.Empty(t, sh.item())
	})
}

// TestCommaInID: with session.sid_bits_per_character = 6 ids have commas, which PHP's cookie has as %2C.
func TestCommaInID(t *testing.T) {
	srv := dynamotest.NewServer()
	defer srv.Close()
	sh := share(t, srv.Client(), phpsession.Config(""))
	sh.id = "T6kHCDLHLT6VKj8,NfhYyCr-ZFjIiE0S"
	sh.phpWrites(`a|i:1;`)
	sh.id = strings.ReplaceAll(sh.id, ",", "%2C")
	w := sh.request(func(s *dynasession.Session) {
		n, _ := dynasession.Get[int](s, "a")
		assert.Equal(t, 1, n)
		assert.Equal(t, "T6kHCDLHLT6VKj8,NfhYyCr-ZFjIiE0S", s.ID())
		s.Remember(time.Hour) // so that Go sets the cookie
	})
	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)
	assert.Equal(t, sh.id, cookies[0].Value)
}

// TestItemsStay: what does not decode, and what PHP could not read back, is an error, and the item stays as it is.
func TestItemsStay(t *testing.T) {
	eachBackend(t, func(t *testing.T, client *dynamodb.Client) {
		for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins} {
			cfg := phpsession.Config("")
			cfg.Concurrency = policy
			sh := share(t, client, cfg)
			for _, data := range []string{`a|i:1`, `a|i:1;b|R:5;`, `{"a":1}`, `a:1:{s:1:"a";i:1;}`, `a|a:1000000000:{}`} {
				sh.phpWrites(data)
				before := sh.item()
				called := false
				require.Equal(t, http.StatusInternalServerError, sh.request(func(*dynasession.Session) { called = true }).Code, data)
				require.False(t, called)
				require.Equal(t, before, sh.item(), data)
			}
			sh.phpWrites(`a|i:1;`)
			before := sh.item()
			for _, spoil := range []func(s *dynasession.Session){
				func(s *dynasession.Session) { s.Set("a|b", 1) },
				func(s *dynasession.Session) { s.Set("b", make(chan int)) },
				func(s *dynasession.Session) { s.Set("b", &phpsession.Object{Class: "no class"}) },
			} {
				w := sh.request(func(s *dynasession.Session) {
					s.Set("a", 2)
					spoil(s)
				})
				require.Equal(t, http.StatusInternalServerError, w.Code)
				require.Equal(t, before, sh.item())
			}
		}
	})
}
