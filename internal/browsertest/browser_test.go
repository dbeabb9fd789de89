package browsertest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// patience is the longest time that a step in a browser may take.
const patience = 20 * time.Second

// chromium returns the path of Chromium. Without Chromium, it skips the test, or fails it in CI.
func chromium(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless-shell"}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	reason := "Chromium is not in the PATH under any of the names " + strings.Join(names, ", ")
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
	return ""
}

// step is an action in a page.
type step = chromedp.Action[chromedp.Void]

// tab is a tab of a browser, for pages of a site.
type tab struct {
	ctx  context.Context
	site *site
}

// newBrowser starts a browser with a profile of its own, and returns its first tab.
func newBrowser(t *testing.T, s *site, path string) tab {
	t.Helper()
	ctx, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Headless,
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true))
	t.Cleanup(stop)
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // waits until the browser has released the profile
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return tab{ctx, s}
}

// newTab opens another tab of b's browser.
func (b tab) newTab(t *testing.T) tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	t.Cleanup(closeTab)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return tab{ctx, b.site}
}

// navigate performs actions that lead to another page, and waits until that page has loaded. It then
// checks the page with checkSecret.
func (b tab) navigate(t *testing.T, actions ...step) {
	t.Helper()
	if err := b.tryNavigate(actions...); err != nil {
		t.Fatal(err)
	}
	b.checkSecret(t)
}

func (b tab) tryNavigate(actions ...step) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	resp, err := chromedp.RunResponse(ctx, actions...)
	if err != nil {
		return err
	}
	if resp.Status != http.StatusOK {
		return fmt.Errorf("%s: status %d", resp.URL, resp.Status)
	}
	return nil
}

// do performs actions that do not lead to a page of the site.
func (b tab) do(t *testing.T, actions ...step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

func (b tab) open(t *testing.T, path string) {
	t.Helper()
	b.navigate(t, chromedp.Navigate(b.site.URL+path))
}

func (b tab) click(t *testing.T, selector string) {
	t.Helper()
	b.navigate(t, click(selector))
}

func click(selector string) step { return chromedp.Click(chromedp.CSS(selector)) }

func (b tab) signIn(t *testing.T, name string, remember bool) {
	t.Helper()
	b.open(t, "/signin")
	actions := []step{
		chromedp.SendKeys(chromedp.CSS("#name"), name),
		chromedp.SendKeys(chromedp.CSS("#password"), "tea"),
	}
	if remember {
		actions = append(actions, click("[name=remember]"))
	}
	b.navigate(t, append(actions, click(".fields button"))...)
}

// eval returns the value of a JavaScript expression.
func eval[T any](t *testing.T, b tab, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// texts returns the text of each element that matches selector.
func (b tab) texts(t *testing.T, selector string) []string {
	t.Helper()
	return eval[[]string](t, b, fmt.Sprintf("Array.from(document.querySelectorAll(%q), e => e.innerText)", selector))
}

func (b tab) wantTexts(t *testing.T, selector string, want ...string) {
	t.Helper()
	if got := b.texts(t, selector); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Fatalf("%s: %q, want %q", selector, got, want)
	}
}

// cookie returns the browser's session cookie, or nil if it has none.
func (b tab) cookie(t *testing.T) *network.Cookie {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	jar, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{b.site.URL}})
	if err != nil {
		t.Fatal(err)
	}
	var found *network.Cookie
	for _, c := range jar.Cookies {
		if c.Name == b.site.Cookie {
			found = c
		} else {
			t.Errorf("the browser has a cookie with the name %q", c.Name)
		}
	}
	return found
}

// checkSecret checks that only the cookie contains the session's id.
func (b tab) checkSecret(t *testing.T) {
	t.Helper()
	c := b.cookie(t)
	if c == nil {
		return
	}
	if len(c.Value) < 22 { // the length of PHP's shortest ids
		t.Fatalf("the id has only %d characters", len(c.Value))
	}
	places := eval[map[string]string](t, b, `({
		"the page": new XMLSerializer().serializeToString(document),
		"the URL": location.href,
		"document.cookie": document.cookie,
		"localStorage": JSON.stringify(localStorage),
		"sessionStorage": JSON.stringify(sessionStorage),
		"the history": JSON.stringify(history.state) + document.referrer,
	})`)
	for place, text := range places {
		if strings.Contains(text, c.Value) {
			t.Errorf("%s contains the session's id", place)
		}
	}
}
