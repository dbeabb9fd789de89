package dynasession

import (
	"cmp"
	"context"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dynasession/dynasession/internal/respond"
)

// cookieMaker writes and reads the session's cookie.
type cookieMaker struct {
	CookieConfig
	keys   keyspace
	revs   bool   // the cookie carries the revision that its response wrote
	binds  bool   // sessions are bound to devices
	device string // the name of the cookie for the endpoint of device-bound sessions
}

func newCookieMaker(cfg *Config) cookieMaker {
	return cookieMaker{
		CookieConfig: cfg.Cookie, keys: newKeyspace(cfg), revs: cfg.EventualReads,
		binds: cfg.DeviceBound > 0, device: "__Secure-" + cfg.Name + "-device",
	}
}

// maxCookies is how many cookies of the name are looked at. A browser sends two if one was set for the host and one
// for its domain, as a change of settings may leave behind.
const maxCookies = 3

// read returns what the request's cookies ask for, in the browser's order, without those that do not have the form of
// an id. It reads the header by itself: net/http's parser would make every cookie of the request.
func (c *cookieMaker) read(h http.Header) (found []sessionCookie) {
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && name == c.Name {
				found = c.add(found, value)
			}
		}
	}
	return found
}

// add adds what a cookie's value asks for to found, unless it is there already or does not have the form of an id.
func (c *cookieMaker) add(found []sessionCookie, value string) []sessionCookie {
	t, ok := c.parse(value)
	if !ok {
		return found
	}
	for i := range found {
		if other := &found[i]; other.id == t.id {
			other.rev, other.proof = max(other.rev, t.rev), cmp.Or(other.proof, t.proof)
			return found
		}
	}
	if len(found) == maxCookies {
		return found
	}
	return append(found, t)
}

// commas reads the commas of PHP's ids. A cookie's value cannot hold them, and PHP writes them as %2C.
var commas = strings.NewReplacer("%2C", ",", "%2c", ",")

// parse splits a cookie's value into an id, the revision after a dot, and the device's proof after a tilde.
func (c *cookieMaker) parse(value string) (sessionCookie, bool) {
	value, proof, _ := strings.Cut(value, "~")
	id, text, hasRev := strings.Cut(value, ".")
	if c.keys.plain && strings.Contains(id, "%") {
		id = commas.Replace(id)
	}
	if !c.keys.valid(id) {
		return sessionCookie{}, false
	}
	t := sessionCookie{id: id, proof: proof}
	if hasRev {
		rev, err := strconv.ParseUint(text, 10, 62)
		if err != nil {
			return sessionCookie{}, false
		}
		t.rev = int64(rev)
	}
	return t, true
}

// cookie returns the cookie of u, or nil if the browser keeps the one that it has.
func (c *cookieMaker) cookie(u cookieUpdate) *http.Cookie {
	if u.action == cookieKeep {
		return nil
	}
	cookie := &http.Cookie{
		Name: c.Name, Domain: c.Domain, Path: c.Path, SameSite: c.SameSite,
		Secure: !c.Insecure, HttpOnly: true, Partitioned: c.Partitioned,
	}
	if u.action == cookieClear || u.action == cookieProve {
		cookie.MaxAge, cookie.Expires = -1, time.Unix(1, 0)
		return cookie
	}
	cookie.Value, cookie.MaxAge = strings.ReplaceAll(u.id, ",", "%2C"), int(min(u.maxAge, math.MaxInt32))
	if c.revs {
		cookie.Value += "." + strconv.FormatInt(u.rev, 10)
	}
	if u.proof != "" {
		cookie.Value += "~" + u.proof
	}
	return cookie
}

// write puts the cookie of u into the header of the response, in the place of an earlier one of the same response.
func (c *cookieMaker) write(h http.Header, u cookieUpdate) {
	cookie := c.cookie(u)
	if cookie == nil {
		return
	}
	c.drop(h)
	h.Add("Set-Cookie", cookie.String())
	if c.binds || u.dropDevice {
		c.writeDevice(h, u)
	}
	respond.KeepPrivate(h)
}

// drop removes the lines of the session's cookie from the header. One of its name with another path or domain is
// another cookie: an old one that the handler clears, for instance.
func (c *cookieMaker) drop(h http.Header) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	var kept []string
	for _, line := range lines {
		if !strings.HasPrefix(line, c.Name+"=") || !c.isOwn(line) {
			kept = append(kept, line)
		}
	}
	h["Set-Cookie"] = kept
}

func (c *cookieMaker) isOwn(line string) bool {
	cookie, err := http.ParseSetCookie(line)
	return err == nil && cookie.Name == c.Name && cookie.Path == c.Path &&
		strings.EqualFold(strings.TrimPrefix(cookie.Domain, "."), strings.TrimPrefix(c.Domain, "."))
}

// noticeInsecure logs, once, that browsers may drop the cookie that is set.
func (q *request) noticeInsecure(ctx context.Context, u cookieUpdate) {
	c := &q.store.cookie
	if u.action != cookieSet || c.Insecure || isTLS(q.r) {
		return
	}
	q.store.insecure.Do(func() {
		host, text := q.r.Host, "dynasession: a Secure cookie is set on a request without TLS, and browsers drop it: set Config.Cookie.Insecure for development, or have the proxy in front send X-Forwarded-Proto: https"
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback() {
			text = "dynasession: a Secure cookie is set on a request without TLS: Safari drops it, also of localhost: set Config.Cookie.Insecure for development"
		}
		q.store.log(ctx).WarnContext(ctx, text, "host", q.r.Host, "cookie", c.Name)
	})
}

// isTLS reports whether the browser's connection is encrypted, as far as the server or a proxy knows.
func isTLS(r *http.Request) bool {
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(proto), "https")
}
