package browsertest

import (
	"bufio"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// build builds an example and returns the path of the program.
func build(t *testing.T, example string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), example)
	cmd := exec.Command("go", "build", "-o", program, "./examples/"+example)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return program
}

// site runs several copies of a program on one table, behind one address.
type site struct {
	URL     string // as browsers see it
	Cookie  string // the name of the session cookie
	DB      *gate
	program string
	env     []string

	mu     sync.Mutex
	copies []*server
}

// server is a process that runs the program.
type server struct {
	cmd    *exec.Cmd
	url    *url.URL
	served int // number of requests; guarded by site.mu
	dead   bool
}

func newSite(t *testing.T, program, endpoint string) *site {
	t.Helper()
	db := &gate{next: proxyTo(t, endpoint)}
	dbServer := httptest.NewServer(db)
	t.Cleanup(dbServer.Close)
	s := &site{Cookie: "session", DB: db, program: program, env: []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + t.TempDir(), // has no AWS settings, so that only those below apply
		"AWS_ENDPOINT_URL_DYNAMODB=" + dbServer.URL,
		"AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=test",
		"AWS_SECRET_ACCESS_KEY=test",
		"DYNASESSION_TABLE=browsertest-" + rand.Text(),
	}}
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: s.route})
	t.Cleanup(front.Close)
	s.URL = strings.Replace(front.URL, "127.0.0.1", "localhost", 1)
	return s
}

// route sends a request to the first copy that is running.
func (s *site) route(r *httputil.ProxyRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.copies {
		if !c.dead {
			c.served++
			r.SetURL(c.url)
			r.Out.Host = r.In.Host
			return
		}
	}
}

// start starts one more copy, and waits until it listens.
func (s *site) start(t *testing.T, args ...string) *server {
	t.Helper()
	cmd := exec.Command(s.program, append(args, "-addr", "localhost:0")...)
	cmd.Env = s.env
	stdout := begin(t, cmd)
	c := &server{cmd: cmd}
	t.Cleanup(func() { s.kill(c) })
	c.url = address(t, stdout)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copies = append(s.copies, c)
	return c
}

// begin starts a program and returns its standard output.
func begin(t *testing.T, cmd *exec.Cmd) io.Reader {
	t.Helper()
	cmd.Stderr = os.Stderr // make gotest checks that it contains no session ids
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return stdout
}

// address waits until a program listens, and returns its address.
func address(t *testing.T, stdout io.Reader) *url.URL {
	t.Helper()
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "Listening on ")
		if !ok {
			continue
		}
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, stdout)
		return u
	}
	t.Fatal("the program ended before it listened")
	return nil
}

// kill kills a copy with SIGKILL, so that it cannot shut down gracefully.
func (s *site) kill(c *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.dead {
		return
	}
	c.dead = true
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// served returns the number of requests that c has received.
func (s *site) served(c *server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.served
}

func proxyTo(t *testing.T, address string) http.Handler {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
}

// gate forwards calls from the programs to DynamoDB. It counts them, and can make some wait for each
// other, so that they are sure to overlap.
type gate struct {
	next http.Handler

	mu        sync.Mutex
	calls     map[string]int
	operation string
	missing   int
	open      chan struct{}
}

// hold makes the next n calls of an operation wait until all n have arrived.
func (g *gate) hold(operation string, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.operation, g.missing, g.open = operation, n, make(chan struct{})
}

// count returns how often an operation was called.
func (g *gate) count(operation string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[operation]
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	select {
	case <-g.pass(operation):
		g.next.ServeHTTP(w, r)
	case <-r.Context().Done():
	}
}

// pass returns a channel that is closed when the call may proceed.
func (g *gate) pass(operation string) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls == nil {
		g.calls = map[string]int{}
	}
	g.calls[operation]++
	wait := g.open
	if g.missing == 0 || operation != g.operation {
		wait = make(chan struct{})
		close(wait)
	} else if g.missing--; g.missing == 0 {
		close(g.open)
	}
	return wait
}
