// Php-share serves one page written in PHP and one written in Go, which share sessions in one DynamoDB
// table. A user who signs in on one page is signed in on the other. The program runs both pages and the
// table on this machine. It needs php 8.1 or newer.
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
	locking := flag.Bool("locking", true, "make the requests of a session wait for each other, in both languages")
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
		case <-ctx.Done(): // a terminal sends its signal to php as well
		case <-time.After(time.Second):
			return fmt.Errorf("php exited: %w", err)
		}
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Shutdown(ctx) // waits until running requests are done
}

// settings returns the settings that both sides must share. The comments name PHP's settings.
func settings(locking bool) dynasession.Config {
	cfg := phpsession.Config("CAKEPHP") // session.name
	cfg.Table = "php-sessions"
	cfg.IdleTimeout = 30 * time.Minute // session_lifetime
	cfg.Cookie.Insecure = true         // cookie_secure; browsers drop Secure cookies over plain HTTP
	if locking {
		cfg.Concurrency = dynasession.Lock
	}
	return cfg
}

// site serves both pages.
type site struct {
	store *dynasession.Store
	php   *phpServer
}

// open creates the table, and starts PHP with the same settings. The endpoint is that of client.
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

// handler serves both pages from one origin, so that browsers send the cookie to both.
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
