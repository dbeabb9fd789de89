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

// user is what CakePHP 3 stores under Auth.User.
type user struct {
	ID   int64  `php:"id"`
	Name string `php:"name"`
}

type tea struct {
	ID, Name string
	Count    int
}

var teas = []tea{{ID: "assam", Name: "Assam"}, {ID: "sencha", Name: "Sencha"}, {ID: "oolong", Name: "Oolong"}}

// view holds what the page shows.
type view struct {
	user
	Cart          []tea
	Note, PHPNote string
	Time          time.Time // Config.time, CakePHP's clock
	Visitor       *object
}

// object describes a PHP object as far as Go can read it.
type object struct {
	Class      string
	Properties []string
}

// load returns the request's session, and keeps it alive for CakePHP 3 as well.
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
		return // the middleware responds with the error, here and below
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
	h.Set("Cache-Control", "no-store") // the back button must show nothing after signing out
	if err := page.Execute(w, v); err != nil {
		log.Printf("page: %v", err)
	}
}

// visitor returns a description of the PHP object in the session, or nil if there is none. Go does not
// need the object's class, which only PHP has.
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

// signIn does not use SetUser. PHP does not read what SetUser stores, and does not store it when a user
// signs in there.
func signIn(w http.ResponseWriter, r *http.Request) {
	sess, err := load(r)
	if err != nil {
		return
	}
	name := posted(r, "name", 40)
	if name == "" {
		http.Error(w, "Please enter a name.", http.StatusUnprocessableEntity)
		return
	}
	if before, ok := phpsession.Lookup[string](sess, "Auth.User.name"); ok && before != name {
		sess.Destroy() // the session is another user's; the calls below start a new one
	}
	sess.Renew() // an id from before the sign-in must be useless
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

// work keeps the session and its lock for some seconds.
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

// posted returns the text of a form field without the spaces around it. It cuts the text to most runes.
func posted(r *http.Request, field string, most int) string {
	runes := []rune(strings.TrimSpace(r.FormValue(field)))
	return string(runes[:min(len(runes), most)])
}

func style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, files, "style.css")
}
