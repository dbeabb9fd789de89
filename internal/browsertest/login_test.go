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

// TestLogin is one visit, step after step.
func TestLogin(t *testing.T) {
	path := chromium(t)
	program := build(t, "login")
	for _, backend := range []string{"embedded", "DynamoDB Local"} {
		t.Run(backend, func(t *testing.T) {
			s := newSite(t, program, endpoint(t, backend))
			first := s.start(t, "-create-table")
			second := s.start(t)
			b := newBrowser(t, s, path)

			// Looking around costs nothing, and leaves nothing.
			b.open(t, "/")
			if b.cookie(t) != nil || s.DB.count("PutItem") != 0 {
				t.Error("a session, though nothing is in it")
			}

			// A cart before the sign-in; the id is another one after it, the cart is still there.
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

			// Two tabs, whose writes meet: both are kept.
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
				t.Errorf("%d writes: the tabs did not meet", n)
			}
			for _, b := range []tab{b, other} {
				b.open(t, "/")
				b.wantTexts(t, ".count", "1", "1", "1")
			}

			// The first copy is killed; the second goes on, and after it a third.
			if s.served(second) != 0 {
				t.Error("the second copy was asked while the first one lived")
			}
			s.kill(first)
			b.open(t, "/")
			b.wantTexts(t, ".who", "Hello, ann")
			b.wantTexts(t, ".count", "1", "1", "1")
			b.click(t, "[aria-label='One Sencha more']")
			b.wantTexts(t, "#count-sencha", "2")
			third := s.start(t)
			s.kill(second)
			b.click(t, "[aria-label='One Sencha more']")
			b.wantTexts(t, ".who", "Hello, ann")
			b.wantTexts(t, ".count", "1", "3", "1")
			if s.served(second) == 0 || s.served(third) == 0 {
				t.Error("a copy was not asked")
			}

			// Another browser of the same person, which is to be remembered.
			phone := newBrowser(t, s, path)
			phone.signIn(t, "ann", true)
			phone.wantTexts(t, ".who", "Hello, ann")
			phone.wantTexts(t, ".count")
			remembered := phone.cookie(t)
			if lasts := time.Until(time.Unix(int64(remembered.Expires), 0)); remembered.Session || lasts < 29*24*time.Hour {
				t.Errorf("the cookie to be remembered lasts %v", lasts)
			}
			waitFor(t, func() bool { // the index follows the table
				b.open(t, "/devices")
				return len(b.texts(t, ".devices li")) == 2
			})
			b.wantTexts(t, ".badge", "this device")

			// Signed out everywhere else.
			b.click(t, ".middle > form button")
			b.wantTexts(t, ".flash", "Signed out elsewhere: 1.")
			b.wantTexts(t, ".devices .badge", "this device")
			if n := len(b.texts(t, ".devices li")); n != 1 {
				t.Errorf("%d devices", n)
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
				t.Errorf("the answer to another site's form: %s", text)
			}
			b.open(t, "/")
			b.wantTexts(t, ".who", "Hello, ann")

			// Paid, then signed out, in both tabs.
			b.click(t, "[action='/pay'] button")
			b.wantTexts(t, ".flash", "Thank you. You have paid €47.90, in play money.")
			b.wantTexts(t, ".count")
			b.click(t, "[action='/signout'] button")
			b.wantTexts(t, ".who")
			if b.cookie(t) != nil {
				t.Error("a cookie after signing out")
			}
			other.open(t, "/devices")
			other.wantTexts(t, "h1", "Sign in")
		})
	}
}

// endpoint gives the URL of a DynamoDB.
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
		t.Fatal("DYNAMODB_LOCAL_ENDPOINT is not set.")
	}
	t.Skip("DYNAMODB_LOCAL_ENDPOINT is not set: make test runs this against DynamoDB Local")
	return ""
}

// checkCookie checks the cookie of a session that is not remembered.
func checkCookie(t *testing.T, c *network.Cookie) {
	t.Helper()
	if c == nil {
		t.Fatal("no session cookie")
	}
	if len(c.Value) != 43 {
		t.Errorf("an id of %d characters", len(c.Value))
	}
	// Over plain HTTP a Secure cookie would be dropped. A domain without a point in front is a host, for itself only.
	if c.Secure || !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || c.Domain != "localhost" || c.Path != "/" || !c.Session {
		shown := *c
		shown.Value = ""
		t.Errorf("the cookie: %+v", shown)
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if condition() {
			return
		}
	}
	t.Fatal("waited in vain")
}
