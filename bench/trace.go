package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"sync"
)

// In the trace, each user makes a first visit, signs in, looks at twenty pages, and signs out.
const (
	pages       = "rrSrrnrrrSrrnrBrrnrr"
	atOnce      = 8 // users that browse at the same time
	traceUsers  = 200
	perUser     = len(pages) + 3
	smallPage   = 'S' // a small change
	bigPage     = 'B' // makes the session large
	readPage    = 'r'
	leftPage    = 'n' // does not use the session
	visitPath   = "/visit"
	signInPath  = "/sign-in"
	signOutPath = "/sign-out"
)

// session is a request's session in any of the libraries.
type session interface {
	get(key string) string // "" if the session has no such key
	set(key, json string)
	signIn(user string)
	destroy()
	save() error // for libraries that do not save by themselves; called before the first byte
}

// opener returns the request's session.
type opener func(w http.ResponseWriter, r *http.Request) (session, error)

// application serves the trace's pages for one library. It responds with an error if the session does
// not hold what the user has stored in it so far.
type application struct {
	open   opener
	people []person
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var user, step int
	if _, err := fmt.Sscanf(r.URL.RawQuery, "user=%d&step=%d", &user, &step); err != nil || user >= len(a.people) {
		http.Error(w, "invalid user or step", http.StatusBadRequest)
		return
	}
	if err := a.serve(w, r, &a.people[user], step); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "ok")
}

func (a *application) serve(w http.ResponseWriter, r *http.Request, p *person, step int) error {
	if r.URL.Path == "/"+string(leftPage) {
		return nil
	}
	s, err := a.open(w, r)
	if err != nil {
		return err
	}
	switch r.URL.Path {
	case visitPath:
		if s.get("profile") != "" {
			return fmt.Errorf("the first visit finds a session")
		}
		return nil
	case signInPath:
		s.signIn(p.id)
		s.set(p.profile.key, p.profile.json)
		return s.save()
	}
	// All other pages are for users who have signed in.
	stored := p.after(step)
	for _, v := range stored {
		if s.get(v.key) != v.json {
			return fmt.Errorf("step %d: %s differs from what was stored", step, v.key)
		}
	}
	switch r.URL.Path {
	case "/" + string(smallPage), "/" + string(bigPage):
		next := p.after(step + 1)[len(stored)]
		s.set(next.key, next.json)
	case signOutPath:
		s.destroy()
	default:
		return nil
	}
	return s.save()
}

// after returns what the session holds after the first step pages.
func (p *person) after(step int) []value {
	held := []value{p.profile}
	small := 0
	for _, page := range pages[:step] {
		switch page {
		case smallPage:
			held = append(held, p.small[small])
			small++
		case bigPage:
			held = append(held, p.big)
		}
	}
	return held
}

// drive sends the requests of all users to handler. It uses HTTPS because the libraries' cookies are
// Secure.
func drive(ctx context.Context, handler http.Handler, users int) error {
	server := httptest.NewTLSServer(handler)
	defer server.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for user := range next {
				if err := browse(ctx, server, user); err != nil {
					cancel(fmt.Errorf("user %d: %w", user, err))
				}
			}
		})
	}
	for user := range users {
		next <- user
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// browse sends one user's requests, with a cookie jar.
func browse(ctx context.Context, server *httptest.Server, user int) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := *server.Client()
	client.Jar = jar
	get := func(path string, step int) error {
		url := fmt.Sprintf("%s%s?user=%d&step=%d", server.URL, path, user, step)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) //nolint:gosec // this program runs the server
		if err != nil {
			return err
		}
		res, err := client.Do(req) //nolint:gosec // the same
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err == nil && (res.StatusCode != http.StatusOK || string(body) != "ok") {
			err = fmt.Errorf("%s: %s: %s", path, res.Status, body)
		}
		return err
	}
	if err := get(visitPath, 0); err != nil {
		return err
	}
	if err := get(signInPath, 0); err != nil {
		return err
	}
	for step, page := range pages {
		if err := get("/"+string(page), step); err != nil {
			return err
		}
	}
	return get(signOutPath, len(pages))
}

func makePeople(users int, of contents) []person {
	people := make([]person, users)
	for i := range people {
		people[i] = of.person(i)
	}
	return people
}
