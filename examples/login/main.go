// Login is a small tea shop that shows what sessions are for: a cart that two tabs may change at
// once, messages that are shown once, signing in, a list of the user's devices, and signing out on one
// device or on all. A panel shows what the last requests did in DynamoDB, and /tabs shows two tabs whose
// changes are merged. All state is in the session, so any number of copies can run on one table. Login
// needs no AWS account, unless -aws is given or DYNASESSION_TABLE is set.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dynasession/dynasession"
)

const (
	password   = "tea" // every user's; put your own check into signIn
	freshFor   = 10 * time.Minute
	rememberMe = 30 * 24 * time.Hour
)

func main() {
	addr := flag.String("addr", cmp.Or(os.Getenv("ADDR"), "localhost:8080"), "the address to listen on")
	aws := flag.Bool("aws", false, "use DynamoDB in AWS, with the AWS settings of this machine")
	create := flag.Bool("create-table", false, "create the table first if it does not exist")
	secure := flag.Bool("tls", false, "serve https://"+tlsHost+", with sessions that are bound to the device")
	flag.Parse()
	if err := run(*addr, *aws, *create, *secure); err != nil {
		log.Fatal(err)
	}
}

func run(addr string, aws, create, secure bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	j := new(journal)
	store, err := openStore(ctx, aws, create, secure, j)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if secure {
		cert, pin, err := newCertificate()
		if err != nil {
			return err
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		printTLS(port, pin)
	} else {
		host, _, _ := net.SplitHostPort(addr)
		fmt.Printf("Listening on http://%s:%d\n", cmp.Or(host, "localhost"), port)
	}

	srv := &http.Server{
		Handler:           handler(store, j),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Shutdown(ctx) // waits until running requests are done
}

type shop struct {
	store   *dynasession.Store
	journal *journal
}

func handler(store *dynasession.Store, j *journal) http.Handler {
	s := shop{store, j}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /tabs", s.tabs)
	mux.HandleFunc("POST /cart", s.cart)
	mux.HandleFunc("POST /pay", s.pay)
	mux.HandleFunc("GET /signin", s.signInPage)
	mux.HandleFunc("POST /signin", s.signIn)
	mux.HandleFunc("POST /signout", s.signOut)
	mux.HandleFunc("GET /devices", s.devices)
	mux.HandleFunc("POST /devices/signout", s.signOutDevices)
	mux.HandleFunc("GET /style.css", style) // never calls Load, so it costs no call to DynamoDB
	return http.NewCrossOriginProtection().Handler(j.begin(store.Middleware(j.end(mux))))
}

func (s shop) home(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return // the middleware responds with the error, here and below
	}
	cart, _ := dynasession.Get[map[string]int](sess, "cart")
	show(w, http.StatusOK, "shop", sess, view{
		Cart: newCart(cart), At: r.FormValue("at"), Slow: r.FormValue("slow") != "",
		SignedOut: r.FormValue("signed") == "out" && sess.User() == "", Happened: s.journal.panel(sess.Ref()),
	})
}

// tabs shows the shop in two frames, one of which is slow.
func (s shop) tabs(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	if sess.IsNew() {
		sess.Set("tabs", true) // two first requests at once would start two sessions
	}
	render(w, http.StatusOK, "tabs", view{})
}

// back returns the address of the shop, with the focus where it was: without scripts, the browser would begin at the top.
func back(r *http.Request, at string) string {
	query := url.Values{"at": {at}}
	if r.FormValue("slow") != "" {
		query.Set("slow", "1")
	}
	return "/?" + query.Encode()
}

// slowness is how long a change takes in a slow tab, between reading the session and saving it.
const slowness = 3 * time.Second

// cart adds a tea to the cart, or removes one.
func (s shop) cart(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(shelf, func(t tea) bool { return t.ID == r.FormValue("tea") })
	if i < 0 {
		http.Error(w, "We have no such tea.", http.StatusBadRequest)
		return
	}
	tea, by, do := shelf[i], -1, r.FormValue("do")
	if do != "remove" {
		by = 1
	}
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	if r.FormValue("slow") != "" {
		time.Sleep(slowness)
	}
	// If another tab has changed the cart in the meantime, the function runs again on the new cart.
	dynasession.Update(sess, "cart", func(cart map[string]int) map[string]int {
		if cart == nil {
			cart = map[string]int{}
		}
		if cart[tea.ID] = min(cart[tea.ID]+by, 99); cart[tea.ID] <= 0 {
			delete(cart, tea.ID)
		}
		return cart
	})
	if by > 0 {
		sess.AddFlash(tea.Name + " is in your cart.")
	}
	if n, _ := dynasession.Get[map[string]int](sess, "cart"); n[tea.ID] == 0 {
		do = "add" // the other buttons are gone with the last one
	}
	http.Redirect(w, r, back(r, do+"-"+tea.ID), http.StatusSeeOther)
}

// pay requires a recent sign-in.
func (s shop) pay(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	// A session that is bound to its device is worth nothing elsewhere. Otherwise the cookie may have been copied.
	if sess.User() == "" || !sess.DeviceBound() && time.Since(sess.AuthTime()) > freshFor {
		sess.AddFlash("Please sign in before you pay. We ask again after ten minutes.")
		sess.Set("paying", true) // signIn comes back here
		http.Redirect(w, r, "/signin", http.StatusSeeOther)
		return
	}
	// Nobody pays twice, or for a cart that another tab has just changed. In these cases Pop finds no
	// cart, or the save fails with ErrConflict. Call sess.Save before you charge a card.
	if cart, _ := dynasession.Pop[map[string]int](sess, "cart"); len(cart) > 0 {
		sess.AddFlash("Thank you. You have paid " + newCart(cart).Total.String() + ", in play money.")
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s shop) signInPage(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	show(w, http.StatusOK, "signin", sess, view{Name: sess.User()})
}

func (s shop) signIn(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	name := strings.TrimSpace(r.FormValue("name"))
	if name == "" || len(name) > 200 || r.FormValue("password") != password {
		show(w, http.StatusUnprocessableEntity, "signin", sess, view{Name: name, Refused: true})
		return
	}
	paying, _ := dynasession.Pop[bool](sess, "paying")
	sess.SetUser(name) // also changes the id, so that an id from before the sign-in is useless, and drops another user's values
	remember := r.FormValue("remember") != ""
	if remember {
		sess.Remember(rememberMe)
	}
	sess.Set("device", device{deviceName(r.UserAgent()), remember})
	sess.AddFlash("Welcome, " + name + ".")
	if paying {
		sess.AddFlash("Now you can pay.")
		http.Redirect(w, r, back(r, "pay"), http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s shop) signOut(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	sess.Destroy()
	http.Redirect(w, r, "/?signed=out", http.StatusSeeOther) // a message in the session would start a new one
}

func (s shop) devices(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	if sess.User() == "" {
		http.Redirect(w, r, "/signin", http.StatusSeeOther)
		return
	}
	infos, err := s.store.UserSessions(r.Context(), sess.User())
	if err != nil {
		sorry(w, r, err)
		return
	}
	show(w, http.StatusOK, "devices", sess, view{Devices: newRows(infos, sess.Ref())})
}

// signOutDevices ends one of the user's other sessions, or all of them if the form has no ref.
func (s shop) signOutDevices(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	if sess.User() == "" {
		http.Redirect(w, r, "/signin", http.StatusSeeOther)
		return
	}
	ref := r.FormValue("ref") // "" means all
	n, err := s.store.DestroyUser(r.Context(), sess.User(), func(i dynasession.Info) bool {
		return i.Ref == sess.Ref() || ref != "" && i.Ref != ref
	})
	if err != nil {
		sorry(w, r, err)
		return
	}
	sess.AddFlash(fmt.Sprintf("Signed out elsewhere: %d.", n))
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}
