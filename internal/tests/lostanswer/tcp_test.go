package lostanswer_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// line is a TCP connection's way to DynamoDB Local that breaks where a test wants: what
// TestFaults does above HTTP happens here below it.
type line struct {
	listener net.Listener
	target   string
	breaks   atomic.Value // of lineBreak
	open     sync.WaitGroup
	conns    atomic.Int64
}

type lineBreak string

const (
	lineHolds    lineBreak = ""
	lineRefuses  lineBreak = "closed when accepted"
	lineBefore   lineBreak = "reset before the request arrives"
	lineAfter    lineBreak = "reset after the request has arrived, before the answer"
	lineHalfway  lineBreak = "reset in the middle of the answer"
	lineSilently lineBreak = "no answer"
)

func newLine(t *testing.T, target string) *line {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &line{listener: listener, target: target}
	l.breaks.Store(lineHolds)
	l.open.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			l.conns.Add(1)
			l.open.Go(func() {
				defer l.conns.Add(-1)
				l.serve(c.(*net.TCPConn))
			})
		}
	})
	return l
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (l *line) serve(client *net.TCPConn) {
	if l.breaks.Load() == lineRefuses {
		reset(client)
		return
	}
	conn, err := net.Dial("tcp", l.target)
	if err != nil {
		reset(client)
		return
	}
	server := conn.(*net.TCPConn)
	defer reset(server)
	defer reset(client)
	var both sync.WaitGroup
	both.Go(func() {
		defer func() { _ = server.CloseWrite() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				reset(server)
				return
			}
			if l.breaks.Load() == lineBefore {
				reset(client)
				reset(server)
				return
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			break
		}
		switch answer := buf[:n]; l.breaks.Load() {
		case lineAfter:
			reset(client)
		case lineHalfway:
			if head := bytes.Index(answer, []byte("\r\n\r\n")); head >= 0 {
				answer = answer[:head+5]
			}
			_, _ = client.Write(answer)
			reset(client)
		case lineSilently:
			_, _ = io.Copy(io.Discard, server) // until the client gives up
		default:
			_, err = client.Write(answer)
		}
		if err != nil {
			break
		}
	}
	reset(client)
	both.Wait()
}

// TestBrokenLines: what ends in the middle of a connection is done or an error, and no
// connection and no goroutine is left.
func TestBrokenLines(t *testing.T) {
	direct := stage.Local(t)
	target, err := url.Parse(os.Getenv("DYNAMODB_LOCAL_ENDPOINT"))
	require.NoError(t, err)
	for _, policy := range stage.Policies {
		t.Run(policy.String(), func(t *testing.T) {
			for _, broken := range []lineBreak{lineRefuses, lineBefore, lineAfter, lineHalfway, lineSilently} {
				t.Run(string(broken), func(t *testing.T) {
					l := newLine(t, target.Host)
					transport := &http.Transport{}
					b := &stage.Backend{Calls: &stage.CallCounter{}}
					b.Client = dynamodb.New(direct.Client.Options(), func(o *dynamodb.Options) {
						o.BaseEndpoint = aws.String("http://" + l.listener.Addr().String())
						o.HTTPClient = &http.Client{Transport: transport}
					}, b.Calls.Wrap)
					d := deed{path: "/count", after: `{"n":1,"token":"t"}`}
					sc := newFaultScene(t, direct, dynasession.Config{Concurrency: policy}, d)
					behind, err := dynasession.New(b.Client, stage.Options(dynasession.Config{Table: sc.Table, Concurrency: policy, Timeout: 200 * time.Millisecond}))
					require.NoError(t, err)
					sc.Handler = behind.Middleware(sc.Paths)

					sc.OK("/read") // a connection that is there
					l.breaks.Store(broken)
					if broken == lineRefuses {
						transport.CloseIdleConnections()
					}
					w := sc.Get(d.path)
					assert.Equal(t, http.StatusServiceUnavailable, w.Code)
					l.breaks.Store(lineHolds)
					assert.Contains(t, []string{d.before(), d.after}, sc.contents())
					if broken == lineRefuses || broken == lineBefore {
						assert.Equal(t, d.before(), sc.contents())
					}

					// The line breaks during the save alone.
					before := sc.contents()
					if policy == dynasession.Lock {
						sc.clear()
						sc.Handler = sc.Store.Middleware(sc.Paths)
						sc.OK("/new")
						before = sc.contents()
						sc.Handler = behind.Middleware(sc.Paths)
					}
					sc.Inside = func() { l.breaks.Store(broken); transport.CloseIdleConnections() }
					w = sc.Get(d.path)
					l.breaks.Store(lineHolds)
					assert.Equal(t, http.StatusServiceUnavailable, w.Code)
					if broken == lineRefuses || broken == lineBefore {
						assert.Equal(t, before, sc.contents())
					}
					after := map[string]string{d.before(): d.after, d.after: `{"n":2,"token":"t"}`}[before]
					assert.Contains(t, []string{before, after}, sc.contents())
					assert.Equal(t, sc.contents(), sc.opens(sc.Browser))

					// And during a renewal and a logout, which leave nothing for the old cookie when done.
					for _, path := range []string{"/renew", "/logout"} {
						sc.clear()
						sc.Handler = sc.Store.Middleware(sc.Paths)
						sc.OK("/new")
						before, old := sc.contents(), sc.Twin()
						sc.Handler = behind.Middleware(sc.Paths)
						sc.Inside = func() { l.breaks.Store(broken); transport.CloseIdleConnections() }
						w = sc.Get(path)
						l.breaks.Store(lineHolds)
						assert.Equal(t, http.StatusServiceUnavailable, w.Code, path)
						for _, tomb := range stage.Tombstones(t, b, sc.Table) { // as if it were over, so that the old cookie may store
							sc.Remove(stage.Attr(tomb, "id"))
						}
						now := sc.contents()
						if broken == lineRefuses || broken == lineBefore {
							assert.Equal(t, before, now, path)
						}
						if now == deedNone || sc.idMoved(old) {
							assert.Equal(t, deedNone, sc.opens(old), path)
						} else {
							assert.Equal(t, before, sc.opens(old), path)
						}
					}

					transport.CloseIdleConnections()
					require.NoError(t, l.listener.Close())
					l.open.Wait()
					assert.Zero(t, l.conns.Load())
				})
			}
		})
	}
}
