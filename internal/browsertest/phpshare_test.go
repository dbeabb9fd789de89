package browsertest

import (
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestPHPShare is one long visit to the PHP page and the Go page of examples/php-share.
func TestPHPShare(t *testing.T) {
	path := chromium(t)
	if _, err := exec.LookPath("php"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("php is not in the PATH")
		}
		t.Skip("php is not in the PATH")
	}
	cmd := exec.Command(build(t, "php-share"), "-addr", "localhost:0")
	stdout := begin(t, cmd)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // makes the program stop php
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	s := &site{URL: address(t, stdout).String(), Cookie: "CAKEPHP"}
	b := newBrowser(t, s, path)
	pages := []string{"/", "/php/"}
	everywhere := func(selector string, want ...string) {
		t.Helper()
		for _, page := range pages {
			b.open(t, page)
			b.wantTexts(t, selector, want...)
		}
	}
	signIn := func(page, name string) {
		t.Helper()
		b.open(t, page)
		b.navigate(t, chromedp.SendKeys(chromedp.CSS("#name"), name), click(".line button"))
	}

	// The user signs in at PHP and fills the cart on both pages.
	everywhere(".name")
	before := b.cookie(t)
	signIn("/php/", "ann")
	everywhere(".name", "ann")
	if b.cookie(t).Value == before.Value {
		t.Error("the id is the same after the sign-in")
	}
	b.open(t, "/")
	b.click(t, "[aria-label='Add one Sencha']")
	b.wantTexts(t, ".count", "0", "1", "0")
	b.wantTexts(t, ".property", "public $language", "protected $pages", "private $seen")
	b.open(t, "/php/")
	b.click(t, "[aria-label='Add one Sencha']")
	everywhere(".count", "0", "2", "0")

	// Both pages set the same cookie with the same attributes.
	for _, page := range pages {
		b.open(t, page)
		c := b.cookie(t)
		if c.Secure || !c.HTTPOnly || c.SameSite != "Lax" || c.Path != "/" || !c.Session {
			t.Errorf("the cookie of %s: Secure %t, HttpOnly %t, SameSite %s, Path %s, Session %t",
				page, c.Secure, c.HTTPOnly, c.SameSite, c.Path, c.Session)
		}
	}

	// The user signs out at Go, signs in at Go, and signs out at PHP.
	b.open(t, "/")
	b.click(t, "[action='/signout'] button")
	if b.cookie(t) != nil {
		t.Error("there is a cookie after signing out")
	}
	everywhere(".name")
	signIn("/", "bob")
	everywhere(".name", "bob")
	b.click(t, "[action='/php/signout'] button")
	everywhere(".name")
	everywhere(".count", "0", "0", "0")
}
