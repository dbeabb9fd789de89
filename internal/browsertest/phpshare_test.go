package browsertest

import (
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestPHPShare is one visit to a page of PHP and one of Go.
func TestPHPShare(t *testing.T) {
	path := chromium(t)
	if _, err := exec.LookPath("php"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("No php in PATH.")
		}
		t.Skip("No php in PATH.")
	}
	cmd := exec.Command(build(t, "php-share"), "-addr", "localhost:0")
	stdout := begin(t, cmd)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it ends php
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

	// Signed in at PHP, with a cart of Go.
	everywhere(".name")
	before := b.cookie(t)
	signIn("/php/", "ann")
	everywhere(".name", "ann")
	if b.cookie(t).Value == before.Value {
		t.Error("the id is the same after the sign-in")
	}
	b.open(t, "/")
	b.click(t, "[aria-label='One Sencha more']")
	b.wantTexts(t, ".count", "0", "1", "0")
	b.wantTexts(t, ".property", "public $language", "protected $pages", "private $seen")
	b.open(t, "/php/")
	b.click(t, "[aria-label='One Sencha more']")
	everywhere(".count", "0", "2", "0")

	// Both cookies are one, and guarded alike.
	for _, page := range pages {
		b.open(t, page)
		c := b.cookie(t)
		if c.Secure || !c.HTTPOnly || c.SameSite != "Lax" || c.Path != "/" || !c.Session {
			t.Errorf("the cookie at %s: %t, %t, %s, %s, %t", page, c.Secure, c.HTTPOnly, c.SameSite, c.Path, c.Session)
		}
	}

	// Signed out at Go, in at Go, out at PHP.
	b.open(t, "/")
	b.click(t, "[action='/signout'] button")
	if b.cookie(t) != nil {
		t.Error("a cookie after signing out")
	}
	everywhere(".name")
	signIn("/", "bob")
	everywhere(".name", "bob")
	b.click(t, "[action='/php/signout'] button")
	everywhere(".name")
	everywhere(".count", "0", "0", "0")
}
