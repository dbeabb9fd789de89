// Login is a small tea shop that shows what sessions are for: a cart that two tabs may change at
// once, messages that are shown once, signing in, a list of the user's devices, and signing out on one
// device or on all. All state is in the session, so any number of copies can run on one table. Login
// needs no AWS account, unless -aws is given or DYNASESSION_TABLE is set.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
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
	flag.Parse()
	if err := run(*addr, *aws, *create); err != nil {
		log.Fatal(err)
	}
}

func run(addr string, aws, create bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store, err := openStore(ctx, aws, create)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(addr)
	fmt.Printf("Listening on http://%s:%d\n", cmp.Or(host, "localhost"), ln.Addr().(*net.TCPAddr).Port)

	srv := &http.Server{
		Handler:           handler(store),
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

type shop struct{ store *dynasession.Store }

func handler(store *dynasession.Store) http.Handler {
	s := shop{store}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("POST /cart", s.cart)
	mux.HandleFunc("POST /pay", s.pay)
	mux.HandleFunc("GET /signin", s.signInPage)
	mux.HandleFunc("POST /signin", s.signIn)
	mux.HandleFunc("POST /signout", s.signOut)
	mux.HandleFunc("GET /devices", s.devices)
	mux.HandleFunc("POST /devices/signout", s.signOutDevices)
	mux.HandleFunc("GET /style.css", style) // never calls Load, so it costs no call to DynamoDB
	return http.NewCrossOriginProtection().Handler(store.Middleware(mux))
}

func (s shop) home(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return // the middleware responds with the error, here and below
	}
	cart, _ := dynasession.Get[map[string]int](sess, "cart")
	show(w, http.StatusOK, "shop", sess, view{Cart: newCart(cart)})
}

// cart adds a tea to the cart, or removes one.
func (s shop) cart(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(shelf, func(t tea) bool { return t.ID == r.FormValue("tea") })
	if i < 0 {
		http.Error(w, "We have no such tea.", http.StatusBadRequest)
		return
	}
	tea, by := shelf[i], -1
	if r.FormValue("do") == "add" {
		by = 1
	}
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
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
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// pay requires a recent sign-in.
func (s shop) pay(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	if time.Since(sess.AuthTime()) > freshFor { // also true if nobody is signed in
		sess.AddFlash("Please sign in before you pay. We ask again after ten minutes.")
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
	if sess.User() != "" && sess.User() != name {
		sess.Destroy() // the session is another user's; the calls below start a new one
	}
	sess.SetUser(name) // also changes the session's id, so that an id from before the sign-in is useless
	remember := r.FormValue("remember") != ""
	if remember {
		sess.Remember(rememberMe)
	}
	sess.Set("device", device{deviceName(r.UserAgent()), remember})
	sess.AddFlash("Welcome, " + name + ".")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s shop) signOut(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	sess.Destroy()
	http.Redirect(w, r, "/", http.StatusSeeOther)
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
