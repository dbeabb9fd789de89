// Php-share is a page of PHP and one of Go, which share sessions in one DynamoDB table: who signs
// in at one is signed in at the other. The program runs both, and the table, on this machine. It
// needs php, 8.1 or newer.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/phpsession"
)

func main() {
	addr := flag.String("addr", cmp.Or(os.Getenv("ADDR"), "localhost:8080"), "the address to listen on")
	locking := flag.Bool("locking", true, "let the requests of a session wait for each other, in both languages")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *addr, *locking)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string, locking bool) error {
	fmt.Println("Running on the embedded DynamoDB, which forgets everything when the program ends.")
	db := dynamotest.NewServer()
	defer db.Close()
	s, err := open(ctx, db.Client(), db.URL(), settings(locking))
	if err != nil {
		return err
	}
	defer s.php.stop()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(addr)
	fmt.Printf("Listening on http://%s:%d\n", cmp.Or(host, "localhost"), ln.Addr().(*net.TCPAddr).Port)

	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	defer srv.Close()
	select {
	case err := <-failed:
		return err
	case err := <-s.php.ended:
		select {
		case <-ctx.Done(): // a terminal sends its signal to both
		case <-time.After(time.Second):
			return fmt.Errorf("php has ended: %w", err)
		}
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Shutdown(ctx) // lets the requests that are running end
}

// settings are what both sides have to agree on.
func settings(locking bool) dynasession.Config {
	cfg := phpsession.Config("CAKEPHP") // session.name
	cfg.Table = "php-sessions"
	cfg.IdleTimeout = 30 * time.Minute // session_lifetime
	cfg.Cookie.Insecure = true         // cookie_secure: over plain HTTP browsers drop Secure cookies
	if locking {
		cfg.Concurrency = dynasession.Lock
	}
	return cfg
}

// site is both pages.
type site struct {
	store *dynasession.Store
	php   *phpServer
}

// open makes the table, and starts PHP with the same settings. endpoint is the client's.
func open(ctx context.Context, client *dynamodb.Client, endpoint string, cfg dynasession.Config) (*site, error) {
	store, err := dynasession.New(client, cfg)
	if err != nil {
		return nil, err
	}
	if err := store.CreateTable(ctx); err != nil {
		return nil, err
	}
	php, err := startPHP(ctx,
		"AWS_ENDPOINT_URL_DYNAMODB="+endpoint,
		"SESSION_TABLE="+cfg.Table,
		"SESSION_NAME="+cfg.Name,
		fmt.Sprintf("SESSION_LIFETIME=%d", int(cfg.IdleTimeout.Seconds())),
		fmt.Sprintf("SESSION_LOCKING=%t", cfg.Concurrency == dynasession.Lock),
	)
	if err != nil {
		return nil, err
	}
	return &site{store, php}, nil
}

// handler gives both pages under one origin, so that browsers send the cookie to both.
func (s *site) handler() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", home)
	pages.HandleFunc("POST /signin", signIn)
	pages.HandleFunc("POST /signout", signOut)
	pages.HandleFunc("POST /cart", cart)
	pages.HandleFunc("POST /note", note)
	pages.HandleFunc("POST /work", work)
	pages.HandleFunc("GET /style.css", style)

	mux := http.NewServeMux()
	mux.Handle("/", s.store.Middleware(pages))
	mux.Handle("/php/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(s.php.url) }})
	return http.NewCrossOriginProtection().Handler(mux)
}
