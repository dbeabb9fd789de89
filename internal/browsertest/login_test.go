package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/dynasession/dynasession/dynamotest"
)

// TestLogin is one long visit to the shop. Each step builds on the steps before.
func TestLogin(t *testing.T) {
	path := chromium(t)
	program := build(t, "login")
	for _, backend := range []string{"embedded", "DynamoDB Local"} {
		t.Run(backend, func(t *testing.T) {
			s := newSite(t, program, endpoint(t, backend))
			first := s.start(t, "-create-table")
			second := s.start(t)
			b := newBrowser(t, s, path)

			// A visit that only looks at the shop makes no calls to DynamoDB and stores nothing.
			b.open(t, "/")
			if b.cookie(t) != nil || s.DB.count("PutItem") != 0 {
				t.Error("there is a session, but it has no content")
			}

			// The user fills the cart before the sign-in. The sign-in changes the id and keeps the cart.
			b.click(t, "[aria-label='Add Oolong to the cart']")
			b.wantTexts(t, ".flash", "Oolong is in your cart.")
			before := b.cookie(t)
			checkCookie(t, before)
			b.signIn(t, "ann", false)
			b.wantTexts(t, ".flash", "Welcome, ann.")
			b.wantTexts(t, ".who", "Hello, ann")
			b.wantTexts(t, "#count-oolong", "1")
			after := b.cookie(t)
			checkCookie(t, after)
			if after.Value == before.Value {
				t.Error("the id is the same after the sign-in")
			}

			// A message is shown once.
			b.navigate(t, chromedp.Reload())
			b.wantTexts(t, ".flash")

			// The writes of two tabs overlap. Both changes are kept.
			other := b.newTab(t)
			other.open(t, "/")
			writes := s.DB.count("UpdateItem")
			s.DB.hold("UpdateItem", 2)
			clicked := make(chan error, 1)
			go func() { clicked <- b.tryNavigate(click("[aria-label='Add Assam to the cart']")) }()
			other.click(t, "[aria-label='Add Sencha to the cart']")
			if err := <-clicked; err != nil {
				t.Fatal(err)
			}
			if n := s.DB.count("UpdateItem") - writes; n < 3 {
				t.Errorf("%d writes: those of the tabs did not overlap", n)
			}
			for _, b := range []tab{b, other} {
				b.open(t, "/")
				b.wantTexts(t, ".count", "1", "1", "1")
			}

			// The first copy is killed. The second one takes over, and then a third one.
			if s.served(second) != 0 {
				t.Error("the second copy received requests while the first one was running")
			}
			s.kill(first)
			b.open(t, "/")
			b.wantTexts(t, ".who", "Hello, ann")
			b.wantTexts(t, ".count", "1", "1", "1")
			b.click(t, "[aria-label='Add one Sencha']")
			b.wantTexts(t, "#count-sencha", "2")
			third := s.start(t)
			s.kill(second)
			b.click(t, "[aria-label='Add one Sencha']")
			b.wantTexts(t, ".who", "Hello, ann")
			b.wantTexts(t, ".count", "1", "3", "1")
			if s.served(second) == 0 || s.served(third) == 0 {
				t.Error("a copy received no requests")
			}

			// The same user signs in with another browser, and asks it to remember the sign-in.
			phone := newBrowser(t, s, path)
			phone.signIn(t, "ann", true)
			phone.wantTexts(t, ".who", "Hello, ann")
			phone.wantTexts(t, ".count")
			remembered := phone.cookie(t)
			if lasts := time.Until(time.Unix(int64(remembered.Expires), 0)); remembered.Session || lasts < 29*24*time.Hour {
				t.Errorf("the cookie of the remembered session lasts %v", lasts)
			}
			waitFor(t, func() bool { // the index lags behind the table
				b.open(t, "/devices")
				return len(b.texts(t, ".devices li")) == 2
			})
			b.wantTexts(t, ".badge", "this device")

			// The user signs out everywhere else.
			b.click(t, ".middle > form button")
			b.wantTexts(t, ".flash", "Signed out elsewhere: 1.")
			b.wantTexts(t, ".devices .badge", "this device")
			if n := len(b.texts(t, ".devices li")); n != 1 {
				t.Errorf("the page shows %d devices, want 1", n)
			}
			phone.open(t, "/")
			phone.wantTexts(t, ".who")
			b.open(t, "/")
			b.wantTexts(t, ".who", "Hello, ann")

			// Another site cannot sign ann out.
			evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `<!doctype html><form method="post" action="%s/signout"><button>Win</button></form>`, s.URL)
			}))
			t.Cleanup(evil.Close)
			other.do(t, chromedp.Navigate(evil.URL), click("button"), chromedp.WaitVisible(chromedp.CSS("pre")))
			if text := other.texts(t, "pre")[0]; !strings.Contains(text, "cross-origin request") {
				t.Errorf("the response to another site's form is %q", text)
			}
			b.open(t, "/")
			b.wantTexts(t, ".who", "Hello, ann")

			// The user pays and signs out in one tab. The other tab is then signed out as well.
			b.click(t, "[action='/pay'] button")
			b.wantTexts(t, ".flash", "Thank you. You have paid €47.90, in play money.")
			b.wantTexts(t, ".count")
			b.click(t, "[action='/signout'] button")
			b.wantTexts(t, ".who")
			if b.cookie(t) != nil {
				t.Error("there is a cookie after signing out")
			}
			other.open(t, "/devices")
			other.wantTexts(t, "h1", "Sign in")
		})
	}
}

// endpoint returns the URL of a DynamoDB. It skips the test if the backend is not available, or fails it
// in CI.
func endpoint(t *testing.T, backend string) string {
	t.Helper()
	if backend == "embedded" {
		db := dynamotest.NewServer()
		t.Cleanup(db.Close)
		return db.URL()
	}
	url := os.Getenv("DYNAMODB_LOCAL_ENDPOINT")
	if url != "" {
		return url
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("DYNAMODB_LOCAL_ENDPOINT is not set")
	}
	t.Skip("DYNAMODB_LOCAL_ENDPOINT is not set: make test runs this against DynamoDB Local")
	return ""
}

// checkCookie checks the cookie of a session that is not remembered.
func checkCookie(t *testing.T, c *network.Cookie) {
	t.Helper()
	if c == nil {
		t.Fatal("there is no session cookie")
	}
	if len(c.Value) != 43 {
		t.Errorf("the id has %d characters, want 43", len(c.Value))
	}
	// The browser would drop a Secure cookie over plain HTTP. A domain without a leading dot means that
	// the cookie is for this host only.
	if c.Secure || !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || c.Domain != "localhost" || c.Path != "/" || !c.Session {
		shown := *c
		shown.Value = ""
		t.Errorf("the cookie has wrong attributes: %+v", shown)
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if condition() {
			return
		}
	}
	t.Fatal("the condition did not become true in time")
}
