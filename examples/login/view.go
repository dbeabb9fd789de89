package main

import (
	"embed"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/dynasession/dynasession"
)

//go:embed page.html style.css
var files embed.FS

var pages = template.Must(template.ParseFS(files, "page.html"))

// view holds what the pages show. It holds values, never the session itself.
type view struct {
	User    string
	Bound   bool // the session is bound to the device
	Flashes []string

	Cart      cart   // home
	At        string // the id of the button that has the focus
	Slow      bool   // every change takes a while
	Ended     bool   // the session that the browser came with is over
	SignedOut bool
	Happened  []happened

	Name    string // signin
	Refused bool

	Devices []row // devices

	Sorry string // sorry
}

// show responds with a page. It takes the flash messages out of the session, which is saved before the
// first byte of the response.
func show(w http.ResponseWriter, status int, page string, sess *dynasession.Session, v view) {
	v.User, v.Bound, v.Ended, v.Flashes = sess.User(), sess.DeviceBound(), sess.Ended(), dynasession.Flashes[string](sess)
	render(w, status, page, v)
}

func render(w http.ResponseWriter, status int, page string, v view) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'")
	h.Set("Cache-Control", "no-store") // the back button must show nothing after signing out
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, page, v); err != nil {
		log.Printf("page %s: %v", page, err)
	}
}

func style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, files, "style.css")
}

type cents int

func (c cents) String() string { return fmt.Sprintf("€%d.%02d", c/100, c%100) }

type tea struct {
	ID, Name, Taste string
	Price           cents
}

// shelf is what the shop sells.
var shelf = []tea{
	{"assam", "Assam", "Malty and strong. Takes milk well.", 690},
	{"sencha", "Sencha", "Green, fresh, a little sweet.", 940},
	{"oolong", "Oolong", "Between green and black, with a scent of flowers.", 1280},
	{"rooibos", "Rooibos", "Red and mellow, without caffeine.", 520},
}

type line struct {
	tea
	Count int
	Sum   cents
}

// cart is the session's cart, with names and prices. Lines holds all teas, in the order of shelf.
type cart struct {
	Lines []line
	Count int
	Total cents
}

func newCart(counts map[string]int) cart {
	var c cart
	for _, t := range shelf {
		l := line{t, counts[t.ID], t.Price * cents(counts[t.ID])}
		c.Lines = append(c.Lines, l)
		c.Count += l.Count
		c.Total += l.Sum
	}
	return c
}

// device is what a session stores about the browser that signed in.
type device struct {
	Name       string
	Remembered bool
}

// row is one line of the page "Your devices".
type row struct {
	device
	Ref         string
	This        bool
	SignedIn    time.Time
	Used, Until string
}

func newRows(infos []dynasession.Info, this string) []row {
	var rows []row
	for _, i := range infos {
		d := device{Name: "Unknown device"}
		_ = i.Decode("device", &d) // a session without a label is listed too
		rows = append(rows, row{d, i.Ref, i.Ref == this, i.AuthTime.UTC(), ago(i.LastUsed), i.Expires.UTC().Format("2 January")})
	}
	return rows
}

// ago returns a text that says how long ago t was. The time of a session's last use is exact to
// Config.TouchAfter.
func ago(t time.Time) string {
	switch d := time.Since(t); {
	case d < 10*time.Minute:
		return "in the last ten minutes"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", d/time.Hour)
	default:
		return t.Format("2 January 2006")
	}
}

// deviceName returns a name for a User-Agent, such as "Firefox on Linux".
func deviceName(agent string) string {
	first := func(pairs [][2]string) string {
		for _, p := range pairs {
			if strings.Contains(agent, p[0]) {
				return p[1]
			}
		}
		return ""
	}
	browser := first([][2]string{{"Edg", "Edge"}, {"OPR", "Opera"}, {"Firefox", "Firefox"}, {"FxiOS", "Firefox"},
		{"Chrome", "Chrome"}, {"CriOS", "Chrome"}, {"Safari", "Safari"}, {"curl", "curl"}})
	system := first([][2]string{{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"},
		{"Windows", "Windows"}, {"Mac OS", "Mac"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}})
	switch {
	case browser == "":
		return "Unknown browser"
	case system == "":
		return browser
	default:
		return browser + " on " + system
	}
}
