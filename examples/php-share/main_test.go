package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/phpsession"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pages holds the path prefix of each side.
var pages = map[string]string{"Go": "", "PHP": "/php"}

// fixture is the site, served over HTTPS.
type fixture struct {
	*site
	db  *dynamotest.Server
	web *httptest.Server
}

func needPHP(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("php"); err != nil {
		const reason = "php is not in the PATH: install the package php-cli"
		if os.Getenv("CI") == "true" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
}

func start(t *testing.T, locking bool) *fixture {
	t.Helper()
	needPHP(t)
	db := dynamotest.NewServer()
	t.Cleanup(db.Close)
	return serve(t, db, db.Client(), db.URL(), settings(locking))
}

// serve starts both sides. In tests on a real DynamoDB, db is nil.
func serve(t *testing.T, db *dynamotest.Server, client *dynamodb.Client, endpoint string, cfg dynasession.Config) *fixture {
	t.Helper()
	s, err := open(context.Background(), client, endpoint, cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		s.php.stop()
		require.Len(t, s.php.ended, 1, "php has not exited")
		conn, err := net.Dial("tcp", s.php.url.Host)
		if err == nil {
			conn.Close()
		}
		require.Error(t, err, "php still listens")
	})
	web := httptest.NewTLSServer(s.handler())
	t.Cleanup(web.Close)
	return &fixture{s, db, web}
}

// browser keeps cookies. It does not follow redirects.
type browser struct {
	t      *testing.T
	site   *fixture
	client *http.Client
}

func (f *fixture) browser(t *testing.T, cookies ...*http.Cookie) *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b := &browser{t, f, &http.Client{Jar: jar, Transport: f.web.Client().Transport}}
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	jar.SetCookies(b.url(), cookies)
	return b
}

func (b *browser) url() *url.URL {
	u, err := url.Parse(b.site.web.URL)
	require.NoError(b.t, err)
	return u
}

// cookie returns the browser's cookie, or nil if it has none.
func (b *browser) cookie() *http.Cookie {
	b.t.Helper()
	cookies := b.client.Jar.Cookies(b.url())
	if len(cookies) == 0 {
		return nil
	}
	require.Len(b.t, cookies, 1, "both sides must set the same cookie")
	require.Equal(b.t, "CAKEPHP", cookies[0].Name)
	cookies[0].Path, cookies[0].Secure = "/", true
	return cookies[0]
}

func (b *browser) get(path string) string {
	b.t.Helper()
	resp, err := b.client.Get(b.site.web.URL + path)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	require.Equal(b.t, http.StatusOK, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return string(body)
}

// post sends a form, given as pairs of name and value, and returns the status.
func (b *browser) post(path string, pairs ...string) int {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	resp, err := b.client.PostForm(b.site.web.URL+path, form)
	require.NoError(b.t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func (b *browser) do(path string, pairs ...string) {
	b.t.Helper()
	require.Equal(b.t, http.StatusSeeOther, b.post(path, pairs...), path)
}

// seen returns the name of the user whom both pages greet, or "" if nobody is signed in.
func (b *browser) seen() string {
	b.t.Helper()
	var names [2]string
	for i, page := range []string{b.get("/"), b.get("/php/")} {
		if _, rest, ok := strings.Cut(page, `class="name">`); ok {
			names[i], _, _ = strings.Cut(rest, "<")
		} else {
			require.Contains(b.t, page, `<h2 id="who">Sign in</h2>`)
		}
	}
	require.Equal(b.t, names[0], names[1], "Go and PHP must greet the same user")
	return names[0]
}

// data returns the stored data of the browser's session.
func (b *browser) data() []byte {
	b.t.Helper()
	data, err := b.site.store.Read(b.t.Context(), b.cookie().Value)
	require.NoError(b.t, err)
	return data
}

func TestOneLogin(t *testing.T) {
	for _, locking := range []bool{true, false} {
		for in, signIn := range pages {
			t.Run(fmt.Sprintf("%s, locking %t", in, locking), func(t *testing.T) {
				t.Parallel()
				f := start(t, locking)
				for _, signOut := range pages {
					for _, first := range pages {
						oneLogin(t, f, first, signIn, signOut)
					}
				}
			})
		}
	}
}

// oneLogin checks a visit. The path prefixes first, signIn and signOut select the side for each step.
func oneLogin(t *testing.T, f *fixture, first, signIn, signOut string) {
	t.Helper()
	b := f.browser(t)
	b.do(first+"/cart", "tea", "assam", "do", "add")
	require.Empty(t, b.seen())
	before := b.cookie()

	b.do(signIn+"/signin", "name", "Jürgen <1>")
	require.Equal(t, "Jürgen &lt;1&gt;", b.seen())
	require.Contains(t, b.get("/"), `id="count-assam">1<`)
	require.NotEqual(t, before.Value, b.cookie().Value, "the sign-in must change the id")
	require.Empty(t, f.browser(t, before).seen(), "the old id must be useless")

	stolen := b.cookie()
	b.do(signOut + "/signout")
	require.Nil(t, b.cookie())
	require.Empty(t, b.seen())
	require.Empty(t, f.browser(t, stolen).seen())
}

func TestOnDynamoDBLocal(t *testing.T) {
	needPHP(t)
	endpoint := os.Getenv("DYNAMODB_LOCAL_ENDPOINT")
	if endpoint == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("DYNAMODB_LOCAL_ENDPOINT is not set.")
		}
		t.Skip("DYNAMODB_LOCAL_ENDPOINT is not set: make test runs this against DynamoDB Local")
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := dynamodb.New(dynamodb.Options{
		HTTPClient:   &http.Client{Transport: transport},
		Region:       "us-east-1", // as in the PHP scripts
		Credentials:  credentials.NewStaticCredentialsProvider("example", "example", ""),
		BaseEndpoint: &endpoint,
	})
	for _, locking := range []bool{true, false} {
		cfg := settings(locking)
		cfg.Table = "php-share-" + rand.Text()
		f := serve(t, nil, client, endpoint, cfg)
		oneLogin(t, f, "", "/php", "")
		oneLogin(t, f, "/php", "", "/php")
	}
}

func TestAnotherPerson(t *testing.T) {
	f := start(t, true)
	for _, first := range pages {
		for _, second := range pages {
			b := f.browser(t)
			b.do(first+"/signin", "name", "ann")
			b.do(first+"/cart", "tea", "assam", "do", "add")
			b.do(second+"/signin", "name", "ann")
			require.Contains(t, b.get("/"), `id="count-assam">1<`)
			b.do(second+"/signin", "name", "bob")
			require.Equal(t, "bob", b.seen())
			require.NotContains(t, b.get("/"), `id="count-assam">1<`)
		}
	}
}

func TestBothChangeOneSession(t *testing.T) {
	for _, locking := range []bool{true, false} {
		t.Run(fmt.Sprintf("locking %t", locking), func(t *testing.T) {
			f := start(t, locking)
			b := f.browser(t)
			b.do("/php/signin", "name", "ann")
			for _, page := range pages {
				b.do(page+"/cart", "tea", "sencha", "do", "add")
				b.do(page+"/cart", "tea", "oolong", "do", "add")
				b.do(page+"/cart", "tea", "oolong", "do", "remove")
				require.Equal(t, http.StatusBadRequest, b.post(page+"/cart", "tea", "coffee", "do", "add"))
			}
			b.do("/php/note", "note", "für PHP |}")
			b.do("/note", "note", "für Go ;\"")
			b.do("/php/work", "seconds", "0")
			b.do("/work", "seconds", "0")
			for page, want := range map[string][]string{
				"/":     {"für PHP |}</q>", `value="für Go ;&#34;"`, `App\Visitor`, `protected $pages`, `private $seen`},
				"/php/": {`value="für PHP |}"`, "für Go ;&quot;</q>"},
			} {
				for _, text := range append(want, `id="count-sencha">2<`, `id="count-oolong">0<`) {
					require.Contains(t, b.get(page), text)
				}
			}

			// When Go changes other values, a PHP object keeps every byte.
			visitor := func() string {
				values, err := phpsession.PHP{}.Split(b.data())
				require.NoError(t, err)
				for _, kv := range values {
					if kv.Key == "visitor" {
						return string(kv.Value)
					}
				}
				return ""
			}
			before := visitor()
			require.Contains(t, before, "O:11:\"App\\Visitor\":3:{")
			require.Contains(t, before, "\x00*\x00pages")
			b.do("/note", "note", "longer, and so at another place")
			b.do("/signin", "name", "ann")
			require.Equal(t, before, visitor())
			require.Contains(t, b.get("/php/"), "requests to PHP, for 5 different paths")
		})
	}
}

func TestTheClockOfCakePHP(t *testing.T) {
	f := start(t, true)
	b := f.browser(t)
	b.do("/php/signin", "name", "ann")
	stored := func() (seconds int, digits string) {
		_, rest, ok := strings.Cut(string(b.data()), `s:4:"time";i:`)
		require.True(t, ok)
		digits, _, _ = strings.Cut(rest, ";")
		seconds, err := strconv.Atoi(digits)
		require.NoError(t, err)
		return seconds, digits
	}
	wind := func(back time.Duration) {
		now, digits := stored()
		data := strings.Replace(string(b.data()), digits, strconv.Itoa(now-int(back.Seconds())), 1)
		require.NoError(t, f.store.Write(t.Context(), b.cookie().Value, []byte(data)))
	}

	began, _ := stored()
	wind(29 * time.Minute)
	b.get("/")
	now, _ := stored()
	require.GreaterOrEqual(t, now, began, "Go must move the clock")
	require.Equal(t, "ann", b.seen())

	wind(31 * time.Minute)
	require.NotContains(t, b.get("/php/"), "ann", "PHP must end the session")
	require.Empty(t, b.seen())
}

// TestLocks lets one side hold the lock until the other side has tried to get it several times.
func TestLocks(t *testing.T) {
	for holder := range pages {
		t.Run(holder+" holds the lock", func(t *testing.T) {
			f := start(t, true)
			b := f.browser(t)
			b.do("/php/signin", "name", "ann")

			var held, asked atomic.Int32
			locked, waited, answered := make(chan struct{}), make(chan struct{}), make(chan struct{})
			f.db.Intercept(func(_ context.Context, r dynamotest.Request, apply func()) error {
				side := "Go"
				if r.Input["AttributeUpdates"] != nil {
					side = "PHP"
				}
				if side == holder {
					switch held.Add(1) {
					case 1:
						apply()
						close(locked)
					case 2: // releases the lock
						select {
						case <-waited:
						case <-answered:
						}
					}
				} else if asked.Add(1) == 3 { // without a wait there are two calls: one takes the lock, one releases it
					close(waited)
				}
				apply()
				return nil
			})
			status := make(chan int, 1)
			go func() { status <- b.post(pages[holder]+"/note", "note", "first") }()
			<-locked
			other := "PHP"
			if holder == "PHP" {
				other = "Go"
			}
			page := b.get(pages[other] + "/")
			close(answered)
			require.Contains(t, page, ">first</q>", "%s did not wait", other)
			require.Equal(t, http.StatusSeeOther, <-status)
		})
	}
}

// TestRequestsOfPHP checks that the PHP page sends the requests that the session handler of the AWS SDK
// for PHP sends.
func TestRequestsOfPHP(t *testing.T) {
	type m = map[string]any
	for _, locking := range []bool{true, false} {
		f := start(t, locking)
		b := f.browser(t)
		var got []m
		f.db.Intercept(func(_ context.Context, r dynamotest.Request, apply func()) error {
			assert.Equal(t, "php-sessions", r.Input["TableName"])
			delete(r.Input, "TableName")
			key, _ := r.Input["Key"].(m)["id"].(m)["S"].(string)
			assert.True(t, strings.HasPrefix(key, "CAKEPHP_"), key)
			delete(r.Input, "Key")
			if updates, ok := r.Input["AttributeUpdates"].(m); ok && updates["expires"] != nil {
				expires, err := strconv.ParseInt(updates["expires"].(m)["Value"].(m)["N"].(string), 10, 64)
				assert.NoError(t, err)
				assert.InDelta(t, time.Now().Add(30*time.Minute).Unix(), expires, 60)
				delete(updates, "expires")
			}
			got = append(got, m{r.Operation: r.Input})
			apply()
			return nil
		})
		read := m{"GetItem": m{"ConsistentRead": true}}
		if locking {
			read = m{"UpdateItem": m{
				"Expected":         m{"lock": m{"Exists": false}},
				"AttributeUpdates": m{"lock": m{"Value": m{"N": "1"}}},
				"ReturnValues":     "ALL_NEW",
			}}
		}
		written := func() m {
			return m{"UpdateItem": m{"AttributeUpdates": m{
				"lock": m{"Action": "DELETE"},
				"data": m{"Value": m{"S": string(b.data())}},
			}}}
		}
		take := func() []m {
			all := got
			got = nil
			return all
		}

		b.get("/php/")
		requests := take()
		require.Equal(t, []m{read, written()}, requests)
		take()
		b.do("/php/signin", "name", "ann") // a new id
		requests = take()
		require.Equal(t, []m{read, {"DeleteItem": m{}}, read, written()}, requests)
		take()
		b.do("/php/signout")
		require.Equal(t, []m{read, {"DeleteItem": m{}}}, take())
	}
}

func TestOtherSitesCannotPost(t *testing.T) {
	f := start(t, false)
	b := f.browser(t)
	b.do("/signin", "name", "ann")
	for _, page := range pages {
		r, err := http.NewRequest(http.MethodPost, f.web.URL+page+"/signout", http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		resp, err := b.client.Do(r)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
	}
	require.Equal(t, "ann", b.seen())
}

func TestNoPHP(t *testing.T) {
	t.Setenv("PATH", "")
	err := run(t.Context(), "localhost:0", true)
	require.ErrorIs(t, err, exec.ErrNotFound)
	require.ErrorContains(t, err, "this example needs PHP")
	require.NotContains(t, err.Error(), "\n")
}
