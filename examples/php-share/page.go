package main

import (
	"embed"
	"hash/crc32"
	"html/template"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/phpsession"
)

//go:embed page.html style.css
var files embed.FS

var page = template.Must(template.ParseFS(files, "page.html"))

// user is what CakePHP 3 has under Auth.User.
type user struct {
	ID   int64  `php:"id"`
	Name string `php:"name"`
}

type tea struct {
	ID, Name string
	Count    int
}

var teas = []tea{{ID: "assam", Name: "Assam"}, {ID: "sencha", Name: "Sencha"}, {ID: "oolong", Name: "Oolong"}}

// view is what the page shows.
type view struct {
	user
	Cart          []tea
	Note, PHPNote string
	Time          time.Time // of CakePHP's clock
	Visitor       *object
}

// object is what Go can tell of an object of PHP.
type object struct {
	Class      string
	Properties []string
}

// load gives the request's session, and keeps it alive for CakePHP 3 too.
func load(r *http.Request) (*dynasession.Session, error) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return nil, err
	}
	phpsession.KeepAlive(sess, time.Minute)
	return sess, nil
}

func home(w http.ResponseWriter, r *http.Request) {
	sess, err := load(r)
	if err != nil {
		return // the middleware answers, here and below
	}
	var v view
	v.ID, _ = phpsession.Lookup[int64](sess, "Auth.User.id")
	v.Name, _ = phpsession.Lookup[string](sess, "Auth.User.name")
	counts, _ := dynasession.Get[map[string]int](sess, "cart")
	for _, t := range teas {
		t.Count = counts[t.ID]
		v.Cart = append(v.Cart, t)
	}
	v.Note, _ = dynasession.Get[string](sess, "note of Go")
	v.PHPNote, _ = dynasession.Get[string](sess, "note of PHP")
	if seconds, ok := phpsession.Lookup[int64](sess, "Config.time"); ok {
		v.Time = time.Unix(seconds, 0)
	}
	v.Visitor = visitor(sess)

	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store") // nothing to see with the back button after signing out
	if err := page.Execute(w, v); err != nil {
		log.Printf("page: %v", err)
	}
}

// visitor looks into an object of a class that only PHP has. Nothing of the class is needed.
func visitor(sess *dynasession.Session) *object {
	v, _ := dynasession.Get[phpsession.Value](sess, "visitor")
	o, ok := v.V.(*phpsession.Object)
	if !ok {
		return nil
	}
	out := &object{Class: o.Class}
	for _, p := range o.Properties {
		name, visibility, _ := p.Property()
		out.Properties = append(out.Properties, visibility+" $"+name)
	}
	return out
}

// signIn does not use SetUser: PHP knows nothing of it, and makes its own sign-ins without.
func signIn(w http.ResponseWriter, r *http.Request) {
	sess, err := load(r)
	if err != nil {
		return
	}
	name := posted(r, "name", 40)
	if name == "" {
		http.Error(w, "That is no name.", http.StatusUnprocessableEntity)
		return
	}
	if before, ok := phpsession.Lookup[string](sess, "Auth.User.name"); ok && before != name {
		sess.Destroy() // another person's: what follows starts a new session
	}
	sess.Renew() // an id from before the sign-in is worth nothing
	sess.Set("Auth", map[string]user{"User": {int64(crc32.ChecksumIEEE([]byte(name))), name}})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func signOut(w http.ResponseWriter, r *http.Request) {
	sess, err := load(r)
	if err != nil {
		return
	}
	sess.Destroy()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func cart(w http.ResponseWriter, r *http.Request) {
	id, by := r.FormValue("tea"), -1
	if r.FormValue("do") == "add" {
		by = 1
	}
	sess, err := load(r)
	if err != nil {
		return
	}
	for _, t := range teas {
		if t.ID != id {
			continue
		}
		dynasession.Update(sess, "cart", func(counts map[string]int) map[string]int {
			if counts == nil {
				counts = map[string]int{}
			}
			counts[id] = max(0, min(99, counts[id]+by))
			return counts
		})
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	http.Error(w, "There is no such tea.", http.StatusBadRequest)
}

func note(w http.ResponseWriter, r *http.Request) {
	sess, err := load(r)
	if err != nil {
		return
	}
	sess.Set("note of Go", posted(r, "note", 100))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// work has the session, and its lock, for some seconds.
func work(w http.ResponseWriter, r *http.Request) {
	if _, err := load(r); err != nil {
		return
	}
	seconds, _ := strconv.Atoi(r.FormValue("seconds"))
	select {
	case <-time.After(time.Duration(max(0, min(5, seconds))) * time.Second):
	case <-r.Context().Done():
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// posted gives a text that was posted, without the spaces around it.
func posted(r *http.Request, field string, most int) string {
	runes := []rune(strings.TrimSpace(r.FormValue(field)))
	return string(runes[:min(len(runes), most)])
}

func style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, files, "style.css")
}
