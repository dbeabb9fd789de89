package main

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)

// open returns the shop on an embedded DynamoDB. The tests run in bubbles of synctest, where sleeping
// takes no time.
func open(t *testing.T) (http.Handler, *dynamotest.Server) {
	t.Helper()
	db := dynamotest.NewServer()
	t.Cleanup(db.Close)
	j := new(journal)
	store, err := dynasession.New(db.Client(j.watch), dynasession.Config{UserIndex: "by-user", ErrorHandler: sorry, Observer: j.observe})
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	db.ResetCalls()
	return handler(store, j), db
}

// browser sends requests and keeps the session cookie, as one browser does.
type browser struct {
	shop   http.Handler
	agent  string
	cookie *http.Cookie // nil if there is none
}

func (b *browser) send(r *http.Request) *httptest.ResponseRecorder {
	r.Header.Set("User-Agent", b.agent)
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.shop.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookie = c; c.MaxAge < 0 {
			b.cookie = nil
		}
	}
	return w
}

func (b *browser) get(path string) string {
	return b.send(httptest.NewRequest(http.MethodGet, path, http.NoBody)).Body.String()
}

// post returns the status and the location that the browser is redirected to.
func (b *browser) post(path string, form url.Values) (status int, location string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := b.send(r)
	return w.Code, w.Header().Get("Location")
}

func (b *browser) add(t *testing.T, tea string) {
	t.Helper()
	status, _ := b.post("/cart", url.Values{"tea": {tea}, "do": {"add"}})
	require.Equal(t, http.StatusSeeOther, status)
}

func (b *browser) signIn(t *testing.T, name string) {
	t.Helper()
	status, location := b.post("/signin", url.Values{"name": {name}, "password": {password}})
	require.Equal(t, http.StatusSeeOther, status)
	require.Contains(t, []string{"/", "/?at=pay"}, location)
	require.Contains(t, b.get("/"), "Hello, <b>"+name+"</b>")
}

func TestLookingAroundCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, db := open(t)
		b := &browser{shop: h}
		require.Contains(t, b.get("/"), "Loose leaf tea")
		require.Contains(t, b.get("/style.css"), "color-scheme")
		require.Nil(t, b.cookie)
		require.Zero(t, db.Calls().Count(""))

		b.add(t, "assam")
		db.ResetCalls()
		b.get("/style.css")
		require.Zero(t, db.Calls().Count(""))
	})
}

func TestSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b := &browser{shop: h}
		b.add(t, "assam")
		before := *b.cookie

		status, _ := b.post("/signin", url.Values{"name": {"ann"}, "password": {"wrong"}})
		require.Equal(t, http.StatusUnprocessableEntity, status)
		require.Equal(t, before.Value, b.cookie.Value)

		b.signIn(t, "ann")
		require.NotEqual(t, before.Value, b.cookie.Value, "the sign-in must change the id")
		require.Contains(t, b.get("/"), `id="count-assam">1<`)

		old := &browser{shop: h, cookie: &before}
		require.NotContains(t, old.get("/"), "ann")
		require.Contains(t, old.get("/"), "Your cart is empty")

		b.signIn(t, "bob")
		require.Contains(t, b.get("/"), "Your cart is empty", "bob must not get the cart of ann")
	})
}

func TestRemember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b, short := &browser{shop: h}, &browser{shop: h}
		short.signIn(t, "ann")
		require.Zero(t, short.cookie.MaxAge)
		b.post("/signin", url.Values{"name": {"ann"}, "password": {password}, "remember": {"on"}})
		require.Equal(t, 30*24*60*60, b.cookie.MaxAge)

		time.Sleep(29 * 24 * time.Hour)
		require.Contains(t, b.get("/"), "Hello, <b>ann</b>")
		require.Contains(t, b.get("/devices"), "remembered until 31 January") // the bubble's clock starts on 1 January
		require.NotContains(t, short.get("/"), "ann")
		time.Sleep(24 * time.Hour)
		require.NotContains(t, b.get("/"), "ann")
	})
}

// meet makes the next two updates wait for each other. It returns a counter of all updates.
func meet(db *dynamotest.Server) *atomic.Int32 {
	var writes atomic.Int32
	var both sync.WaitGroup
	both.Add(2)
	db.Intercept(func(_ context.Context, r dynamotest.Request, apply func()) error {
		if r.Operation == "UpdateItem" && writes.Add(1) <= 2 {
			both.Done()
			both.Wait()
		}
		apply()
		return nil
	})
	return &writes
}

func TestTwoTabsFillOneCart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, db := open(t)
		b := &browser{shop: h}
		b.add(t, "oolong")

		writes := meet(db)
		var tabs sync.WaitGroup
		for _, tea := range []string{"assam", "sencha"} {
			tab := *b
			tabs.Go(func() { tab.add(t, tea) })
		}
		tabs.Wait()
		require.GreaterOrEqual(t, writes.Load(), int32(3), "the tabs' updates did not overlap")

		page := b.get("/")
		for _, name := range []string{"Oolong", "Assam", "Sencha"} {
			require.Contains(t, page, `id="count-`+strings.ToLower(name)+`">1<`)
			require.Contains(t, page, name+" is in your cart.")
		}
	})
}

func TestCart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b := &browser{shop: h}
		b.add(t, "assam")
		b.add(t, "assam")
		require.Contains(t, b.get("/"), "€13.80")
		b.post("/cart", url.Values{"tea": {"assam"}, "do": {"remove"}})
		require.Contains(t, b.get("/"), `id="count-assam">1<`)
		b.post("/cart", url.Values{"tea": {"assam"}, "do": {"remove"}})
		b.post("/cart", url.Values{"tea": {"assam"}, "do": {"remove"}})
		require.Contains(t, b.get("/"), "Your cart is empty")
		status, _ := b.post("/cart", url.Values{"tea": {"coffee"}, "do": {"add"}})
		require.Equal(t, http.StatusBadRequest, status)
	})
}

func TestFlashIsShownOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b := &browser{shop: h}
		b.add(t, "assam")
		require.Contains(t, b.get("/"), "Assam is in your cart.")
		require.NotContains(t, b.get("/"), "Assam is in your cart.")
	})
}

func TestPay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b := &browser{shop: h}
		b.add(t, "assam")
		_, location := b.post("/pay", nil)
		require.Equal(t, "/signin", location, "nobody is signed in")

		b.signIn(t, "ann")
		time.Sleep(freshFor + time.Second)
		_, location = b.post("/pay", nil)
		require.Equal(t, "/signin", location, "the sign-in is old")
		require.Contains(t, b.get("/signin"), "Please sign in before you pay.")

		before := b.cookie.Value
		_, location = b.post("/signin", url.Values{"name": {"ann"}, "password": {password}})
		require.Equal(t, "/?at=pay", location, "back to where the user was")
		require.Regexp(t, `<button class="wide" autofocus>Pay`, b.get(location))
		require.NotEqual(t, before, b.cookie.Value)
		_, location = b.post("/pay", nil)
		require.Equal(t, "/", location)
		require.Contains(t, b.get("/"), "You have paid €6.90")
		_, _ = b.post("/pay", nil)
		require.NotContains(t, b.get("/"), "You have paid", "the cart can be paid only once")
	})
}

func TestTwoTabsPayOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, db := open(t)
		b := &browser{shop: h}
		b.add(t, "assam")
		b.signIn(t, "ann")
		meet(db)
		var tabs sync.WaitGroup
		statuses := make([]int, 2)
		for i := range statuses {
			tab := *b
			tabs.Go(func() { statuses[i], _ = tab.post("/pay", nil) })
		}
		tabs.Wait()
		require.ElementsMatch(t, []int{http.StatusSeeOther, http.StatusConflict}, statuses)
		require.Equal(t, 1, strings.Count(b.get("/"), "You have paid"))
	})
}

func TestOneTabPaysTheOtherAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, db := open(t)
		b := &browser{shop: h}
		b.add(t, "assam")
		b.signIn(t, "ann")
		meet(db)
		var tabs sync.WaitGroup
		var status int
		first, second := *b, *b
		tabs.Go(func() { status, _ = first.post("/pay", nil) })
		tabs.Go(func() { second.add(t, "sencha") })
		tabs.Wait()
		page := b.get("/")
		require.Contains(t, page, `id="count-sencha">1<`)
		paid := status == http.StatusSeeOther // otherwise the other tab was first
		require.Equal(t, paid, strings.Contains(page, "You have paid €6.90"))
		require.Equal(t, !paid, strings.Contains(page, `id="count-assam">1<`))
	})
}

func TestDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		stranger := &browser{shop: h}
		_, location := stranger.post("/devices/signout", nil)
		require.Equal(t, "/signin", location)
		stranger.signIn(t, "bob")

		desk := &browser{shop: h, agent: firefox}
		phone := &browser{shop: h, agent: safari}
		tablet := &browser{shop: h}
		for _, b := range []*browser{desk, phone, tablet} {
			b.signIn(t, "ann")
		}
		time.Sleep(45 * time.Minute)
		desk.get("/")

		page := desk.get("/devices")
		require.Equal(t, 1, strings.Count(page, "this device"))
		require.Contains(t, page, `Firefox on Linux <span class="badge">this device</span>`)
		require.Contains(t, page, "<h2>Safari on iPhone</h2>")
		require.Contains(t, page, "<h2>Unknown browser</h2>")
		require.Contains(t, page, "last used in the last ten minutes")
		require.Contains(t, page, "last used 45 minutes ago")

		// Sign out one device.
		ref := regexp.MustCompile(`value="([^"]+)" aria-label="Sign out Safari on iPhone"`).FindStringSubmatch(page)
		require.NotNil(t, ref)
		_, location = desk.post("/devices/signout", url.Values{"ref": {ref[1]}})
		require.Equal(t, "/devices", location)
		page = desk.get("/devices")
		require.Contains(t, page, "Signed out elsewhere: 1.")
		require.NotContains(t, page, "iPhone")
		require.NotContains(t, phone.get("/"), "ann")
		require.Contains(t, tablet.get("/"), "ann")

		// Sign out all other devices.
		phone.signIn(t, "ann")
		desk.post("/devices/signout", nil)
		require.Contains(t, desk.get("/devices"), "Signed out elsewhere: 2.")
		require.NotContains(t, phone.get("/"), "ann")
		require.NotContains(t, tablet.get("/"), "ann")
		require.Contains(t, desk.get("/"), "ann")
		require.Contains(t, stranger.get("/"), "bob")
	})
}

func TestSignOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b := &browser{shop: h}
		b.signIn(t, "ann")
		stolen := &browser{shop: h, cookie: b.cookie}
		_, location := b.post("/signout", nil)
		require.Equal(t, "/?signed=out", location)
		require.Nil(t, b.cookie)
		require.Contains(t, b.get(location), "You are signed out.")
		require.Nil(t, b.cookie, "the message needs no session")
		require.NotContains(t, stolen.get("/"), "ann")
	})
}

func TestOtherSitesCannotPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b := &browser{shop: h}
		b.signIn(t, "ann")
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://example.org"} {
			r := httptest.NewRequest(http.MethodPost, "/signout", http.NoBody)
			r.Header.Set(name, value)
			require.Equal(t, http.StatusForbidden, b.send(r).Code)
		}
		require.Contains(t, b.get("/"), "ann")
	})
}

func TestSorry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, db := open(t)
		b := &browser{shop: h}
		b.signIn(t, "ann")
		db.Fault(dynamotest.Fault{Kind: dynamotest.Refuse, Times: -1})
		w := b.send(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Contains(t, w.Body.String(), "Our database does not respond.")
		db.ClearFaults()
		require.Contains(t, b.get("/"), "ann")
	})
}

func TestOpenStore(t *testing.T) {
	db := dynamotest.NewServer()
	t.Cleanup(db.Close)
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", db.URL())
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("DYNASESSION_TABLE", "")
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	_, err := openStore(t.Context(), true, false, false, new(journal))
	require.ErrorIs(t, err, dynasession.ErrTable)
	_, err = openStore(t.Context(), true, true, false, new(journal))
	require.NoError(t, err)
	_, err = openStore(t.Context(), true, false, false, new(journal))
	require.NoError(t, err)
	asked := len(db.Calls())
	_, err = openStore(t.Context(), false, false, false, new(journal))
	require.NoError(t, err, "the machine's AWS settings do not matter")
	require.Len(t, db.Calls(), asked)
}

func TestDeviceName(t *testing.T) {
	for agent, want := range map[string]string{
		firefox:       "Firefox on Linux",
		safari:        "Safari on iPhone",
		"curl/8.14.1": "curl",
		"":            "Unknown browser",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0": "Edge on Windows",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36":               "Chrome on Android",
	} {
		require.Equal(t, want, deviceName(agent))
	}
}

// TestFocus checks that a page begins where the user was, and not at the top.
func TestFocus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b := &browser{shop: h}
		for _, step := range []struct{ do, location, label string }{
			{"add", "/?at=add-assam", "Add Assam to the cart"}, {"more", "/?at=more-assam", "Add one Assam"},
			{"remove", "/?at=remove-assam", "Remove one Assam"}, {"remove", "/?at=add-assam", "Add Assam to the cart"},
		} {
			_, location := b.post("/cart", url.Values{"tea": {"assam"}, "do": {step.do}})
			require.Equal(t, step.location, location)
			page := b.get(location)
			require.Equal(t, 1, strings.Count(page, "autofocus"))
			require.Contains(t, page, `aria-label="`+step.label+`" autofocus`)
		}
	})
}

// TestPanel checks what the shop says about its last requests.
func TestPanel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b, stranger := &browser{shop: h}, &browser{shop: h}
		require.NotContains(t, b.get("/"), "What just happened")
		b.add(t, "assam")
		stranger.add(t, "sencha")
		page := b.get("/")
		require.Contains(t, page, "What just happened")
		require.Contains(t, page, "<p>PutItem<br>units read 0, written 1: $0.625 a million</p>")
		require.Equal(t, 1, strings.Count(page, "<code>POST /cart"), "another's requests do not show")
		b.signIn(t, "ann")
		page = b.get("/")
		require.Contains(t, page, `<code>POST /signin</code> <span class="badge">new id</span>`)
		require.Contains(t, page, "GetItem, TransactWriteItems")
		require.Contains(t, page, "<code>POST /cart", "from before the sign-in")

		slow := *b
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, location := slow.post("/cart", url.Values{"tea": {"oolong"}, "do": {"add"}, "slow": {"1"}})
			assert.Equal(t, "/?at=add-oolong&slow=1", location)
		}()
		time.Sleep(time.Second)
		b.add(t, "rooibos")
		<-done
		page = b.get("/?slow=1")
		require.Contains(t, page, "merged with another request")
		require.Contains(t, page, `name="slow" value="1"`)
		for _, tea := range []string{"assam", "oolong", "rooibos"} {
			require.Contains(t, page, `id="count-`+tea+`">1<`)
		}
		require.Contains(t, b.get("/tabs"), `<iframe src="/?slow=1"`)
	})
}

// TestEnded checks what a browser reads whose session is over.
func TestEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := open(t)
		b := &browser{shop: h}
		require.NotContains(t, b.get("/"), "Your session is over")
		b.add(t, "assam")
		time.Sleep(2 * time.Hour)
		require.Contains(t, b.get("/"), "Your session is over")
	})
}

// TestCertificate checks the certificate of -tls.
func TestCertificate(t *testing.T) {
	cert, pin, err := newCertificate()
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	require.NoError(t, err)
	require.NoError(t, parsed.VerifyHostname(tlsHost))
	require.Len(t, pin, 44)
}

// TestTLSOffersToBind checks that, with -tls, a sign-in offers the browser to bind the session.
func TestTLSOffersToBind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Setenv("DYNASESSION_TABLE", "")
		store, err := openStore(t.Context(), false, true, true, new(journal))
		require.NoError(t, err)
		b := &browser{shop: handler(store, new(journal))}
		w := b.send(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
		require.Equal(t, http.StatusOK, w.Code)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/signin", strings.NewReader("name=ann&password="+password))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		require.Contains(t, b.send(r).Header().Get("Secure-Session-Registration"), "(ES256)")
	})
}
