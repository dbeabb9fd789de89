package dynasession

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dynasession/dynasession/internal/protocol"
)

// faults are what is wrong with a Config.
type faults []error

func (f *faults) add(field string, value any, allowed string) {
	*f = append(*f, fmt.Errorf("dynasession: Config.%s is %v: %s", field, value, allowed))
}

func (f *faults) check(ok bool, field string, value any, allowed string) {
	if !ok {
		f.add(field, value, allowed)
	}
}

// complete returns c with its defaults filled in, and everything that is wrong with it.
func (c Config) complete() (Config, error) {
	var f faults
	setDefault(&c.Table, DefaultTable)
	setDefault(&c.Name, DefaultName)
	setDefault(&c.Attributes.ID, "id")
	setDefault(&c.Attributes.Expires, "expires")
	setDefault(&c.Attributes.Data, "data")
	setDefault(&c.Attributes.User, "user")
	setDefault(&c.LockWait, DefaultLockWait)
	setDefault(&c.LockLease, DefaultLockLease)
	setDefault(&c.Timeout, DefaultTimeout)
	if c.Codec == nil {
		c.Codec = JSON{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}

	f.check(tableName(c.Table) || tableARN(c.Table), "Table", quote(c.Table),
		"must be 3 to 255 letters, digits and \"._-\", or an ARN, arn:aws:dynamodb:REGION:ACCOUNT:table/NAME")
	named := len(c.Name) <= 128 && onlyIn(c.Name, nameChars) && strings.ContainsAny(c.Name, idAlphabet) && c.Name[0] != '_'
	f.check(named, "Name", quote(c.Name),
		"must be up to 128 letters, digits and \"._-\", at least one of them a letter or digit, and not begin with \"_\", which PHP's handler cuts off the keys")
	if !named {
		c.Name = DefaultName // the cookie's name depends on it
	}
	f.check(c.UserIndex == "" || tableName(c.UserIndex), "UserIndex", quote(c.UserIndex),
		"must be 3 to 255 letters, digits and \"._-\", or empty for none")
	c.checkTimes(&f)
	c.checkAttributes(&f)
	f.check(c.Concurrency >= Merge && c.Concurrency <= LastWriteWins, "Concurrency", int(c.Concurrency),
		"must be Merge, Lock or LastWriteWins")
	f.check(!c.EventualReads || !c.ForeignWriters, "EventualReads", c.EventualReads,
		"cannot go with ForeignWriters, whose writes move no revision that a cookie could carry")
	keys := make([][]byte, len(c.EncryptionKeys))
	for i, key := range c.EncryptionKeys {
		f.check(len(key) == 32, fmt.Sprintf("EncryptionKeys[%d]", i), fmt.Sprintf("of %d bytes", len(key)), "must be of 32, for AES-256")
		keys[i] = slices.Clone(key)
	}
	c.EncryptionKeys = keys
	if c.DeviceBound != 0 && c.Cookie.hostOnly() {
		setDefault(&c.Cookie.Name, "__Host-"+c.Name) // browsers bind no cookie whose name begins with __Host-Http-
	}
	c.Cookie.complete(c.Name, &f)
	c.checkDeviceBound(&f)
	return c, errors.Join(f...)
}

// checkDeviceBound refuses what would let a copied cookie live on, or keep browsers from binding the session.
func (c *Config) checkDeviceBound(f *faults) {
	if c.DeviceBound == 0 {
		return
	}
	f.check(c.DeviceBound >= minDeviceBound, "DeviceBound", c.DeviceBound, "must be at least "+minDeviceBound.String()+", or 0 for off")
	for name, set := range map[string]bool{
		"InsecurePlainIDs": c.InsecurePlainIDs, "ForeignWriters": c.ForeignWriters, "Concurrency: LastWriteWins": c.Concurrency == LastWriteWins,
		"Cookie.Domain": c.Cookie.Domain != "", "Cookie.Insecure": c.Cookie.Insecure, "Cookie.Partitioned": c.Cookie.Partitioned,
	} {
		f.check(!set, "DeviceBound", c.DeviceBound, "cannot go with "+name)
	}
	name := strings.ToLower(c.Cookie.Name)
	f.check(!strings.HasPrefix(name, "__host-http-") && !strings.HasPrefix(name, "__http-"), "DeviceBound", c.DeviceBound,
		"cannot go with Cookie.Name "+quote(c.Cookie.Name)+": browsers bind no cookie with the prefix __Host-Http- or __Http-")
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// checkTimes also fills in defaults. A wrong value is replaced by the default, so that the fields that depend on it are not
// reported as well.
func (c *Config) checkTimes(f *faults) {
	const century = 100 * 365 * 24 * time.Hour
	setDefault(&c.Lifetime, DefaultLifetime)
	if c.Lifetime < time.Second || c.Lifetime > century {
		f.add("Lifetime", c.Lifetime, "must be from 1s to 100 years, or 0 for "+DefaultLifetime.String())
		c.Lifetime = max(DefaultLifetime, c.IdleTimeout)
	}
	idle := min(DefaultIdleTimeout, c.Lifetime)
	setDefault(&c.IdleTimeout, idle)
	if c.IdleTimeout < time.Second || c.IdleTimeout > c.Lifetime {
		f.add("IdleTimeout", c.IdleTimeout, fmt.Sprintf("must be at least 1s and at most Lifetime, which is %v, or 0 for %v", c.Lifetime, idle))
		c.IdleTimeout = max(idle, c.TouchAfter+1)
	}
	setDefault(&c.TouchAfter, c.IdleTimeout/10)
	f.check(c.TouchAfter > 0 && c.TouchAfter < c.IdleTimeout, "TouchAfter", c.TouchAfter,
		fmt.Sprintf("must be less than IdleTimeout, which is %v, and not negative, or 0 for a tenth of it", c.IdleTimeout))
	f.check(c.LockWait > 0, "LockWait", c.LockWait, "must not be negative; 0 is for "+DefaultLockWait.String())
	f.check(c.LockLease >= time.Millisecond, "LockLease", c.LockLease, "must be at least 1ms, or 0 for "+DefaultLockLease.String())
	f.check(c.Timeout > 0, "Timeout", c.Timeout, "must not be negative; 0 is for "+DefaultTimeout.String())
}

func (c *Config) checkAttributes(f *faults) {
	taken := map[string]string{}
	for _, name := range protocol.OwnAttributes() {
		taken[name] = "the protocol"
	}
	for _, a := range []struct{ field, name string }{
		{"Attributes.ID", c.Attributes.ID}, {"Attributes.Expires", c.Attributes.Expires},
		{"Attributes.Data", c.Attributes.Data}, {"Attributes.User", c.Attributes.User},
	} {
		// Key attributes' names are limited to 255 bytes; one limit for all is simpler.
		f.check(len(a.name) <= 255, a.field, quote(a.name), "must be of at most 255 bytes")
		f.check(utf8.ValidString(a.name), a.field, quote(a.name), "must be UTF-8")
		f.check(taken[a.name] == "", a.field, quote(a.name), "is used by "+taken[a.name]+" already")
		taken[a.name] = a.field
	}
}

const (
	letters    = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	nameChars  = idAlphabet + "._-"
	tokenChars = idAlphabet + "!#$%&'*+-.^_`|~" // RFC 9110, section 5.6.2
)

func tableName(s string) bool { return len(s) >= 3 && len(s) <= 255 && onlyIn(s, nameChars) }

// tableARN reports whether s has the form of a table's ARN, in any partition (AWS Service Authorization Reference, "Resource
// types defined by Amazon DynamoDB"). An index, a stream or a backup has another form.
func tableARN(s string) bool {
	parts := strings.Split(s, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "dynamodb" {
		return false
	}
	partition, region, account := parts[1], parts[3], parts[4]
	name, ok := strings.CutPrefix(parts[5], "table/")
	return ok && tableName(name) && onlyIn(partition, nameChars) && onlyIn(region, nameChars) &&
		len(account) == 12 && onlyIn(account, "0123456789")
}

func onlyIn(s, chars string) bool { return s != "" && strings.Trim(s, chars) == "" }

func quote(s string) string { return fmt.Sprintf("%q", s) }

// hostOnly reports whether the cookie may have the prefix __Host-.
func (c *CookieConfig) hostOnly() bool {
	return !c.Insecure && c.Domain == "" && (c.Path == "" || c.Path == "/")
}

// complete fills in the defaults, and checks what browsers ask of cookies.
func (c *CookieConfig) complete(name string, f *faults) {
	hostOnly := c.hostOnly()
	setDefault(&c.Path, "/")
	setDefault(&c.SameSite, http.SameSiteLaxMode)
	if c.Name == "" {
		switch {
		case c.Insecure:
			c.Name = name
		case hostOnly:
			c.Name = "__Host-Http-" + name
		default:
			c.Name = "__Secure-" + name
		}
	}
	f.check(len(c.Name) <= 256 && onlyIn(c.Name, tokenChars), "Cookie.Name", quote(c.Name), "must be up to 256 characters of a token (RFC 9110, section 5.6.2)")
	// Browsers compare the prefixes without regard to case.
	lower := strings.ToLower(c.Name)
	if strings.HasPrefix(lower, "__host-") {
		f.check(hostOnly, "Cookie.Name", quote(c.Name), "the prefix __Host- cannot go with Insecure, a Domain, or a Path other than /")
	}
	for _, prefix := range []string{"__Secure-", "__Http-"} {
		if strings.HasPrefix(lower, strings.ToLower(prefix)) {
			f.check(!c.Insecure, "Cookie.Name", quote(c.Name), "the prefix "+prefix+" cannot go with Insecure")
		}
	}
	f.check(cookieDomain(c.Domain), "Cookie.Domain", quote(c.Domain), "must be a host name, such as example.com, or empty for this host only")
	f.check(cookiePath(c.Path), "Cookie.Path", quote(c.Path), "must begin with /, and hold no ; and no control characters")
	switch c.SameSite {
	case http.SameSiteLaxMode, http.SameSiteStrictMode:
	case http.SameSiteNoneMode:
		f.check(!c.Insecure, "Cookie.SameSite", "None", "cannot go with Insecure: browsers refuse such a cookie")
	default:
		f.add("Cookie.SameSite", int(c.SameSite), "must be http.SameSiteLaxMode, SameSiteStrictMode or SameSiteNoneMode, or 0 for Lax")
	}
	f.check(!c.Partitioned || !c.Insecure, "Cookie.Partitioned", c.Partitioned, "cannot go with Insecure: browsers refuse such a cookie")
}

func cookieDomain(s string) bool {
	if s == "" {
		return true
	}
	s = strings.TrimPrefix(s, ".")
	if !strings.ContainsAny(s, letters) {
		return false // net/http would drop it
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || !onlyIn(label, idAlphabet+"-") || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return len(s) <= 253
}

func cookiePath(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == ';' {
			return false
		}
	}
	return strings.HasPrefix(s, "/") && len(s) <= 1024
}

// seconds rounds d down to whole seconds, DynamoDB's unit of expiry. So a session may end earlier than configured by
// less than a second, and never later.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// epoch returns t in epoch seconds, rounded down, and never 0, which means no time.
func epoch(t time.Time) int64 {
	return min(max(t.Unix(), 1), math.MaxInt64/4)
}

// timeOf is the reverse of epoch. It returns the zero Time for 0.
func timeOf(sec int64) time.Time {
	if sec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}

// notBefore returns t in epoch seconds, or 0 for the zero Time. It rounds up, since births are rounded down: a
// session that was born in that second may be older than t.
func notBefore(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	sec := epoch(t)
	if t.Nanosecond() > 0 {
		sec++
	}
	return sec
}
