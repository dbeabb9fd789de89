package dynasession

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"
)

// The defaults of [Config], for fields that are zero.
const (
	DefaultTable       = "sessions"
	DefaultName        = "session"
	DefaultIdleTimeout = time.Hour // or Lifetime, if that is shorter
	DefaultLifetime    = 24 * time.Hour
	DefaultLockWait    = 10 * time.Second
	DefaultLockLease   = 30 * time.Second
	DefaultTimeout     = 5 * time.Second
)

// Config says where sessions are stored, how long they last, and how they are protected. The zero value is ready for
// production. [New] checks a Config and keeps a copy.
//
// [ConfigFromEnv] sets the fields that have an env tag from environment variables with the prefix DYNASESSION_, those of
// Cookie with DYNASESSION_COOKIE_, and those of Attributes with DYNASESSION_ATTRIBUTES_. Durations are written as in 30m,
// switches as true or false, NotBefore as in RFC 3339, and EncryptionKeys in base64, separated by commas.
type Config struct {
	// Table is the name, or the ARN, of the DynamoDB table. "" means "sessions".
	Table string `env:"TABLE"`

	// Name is the prefix of the items' keys and of the cookie's name. Stores with different names can share a table. It has
	// letters, digits, and "._-", but does not begin with "_", which PHP's handler cuts off. "" means "session".
	Name string `env:"NAME"`

	// IdleTimeout ends a session that is not used. It is at least 1 s and at most Lifetime; fractions of a second are dropped.
	// 0 means 1 h, or Lifetime if that is shorter (NIST SP 800-63B-4, section 2.2.3, recommends 1 h for AAL2).
	IdleTimeout time.Duration `env:"IDLE_TIMEOUT"`

	// Lifetime ends a session after its creation, whether or not it is used. It is at least 1 s. 0 means 24 h (NIST SP
	// 800-63B-4, section 2.2.3, for AAL2).
	Lifetime time.Duration `env:"LIFETIME"`

	// TouchAfter is how old the stored expiry may be before a request that only reads the session extends it. So a session
	// ends at most IdleTimeout after its last use, and at most TouchAfter earlier. Each such write is billed for the whole
	// item. It must be less than IdleTimeout. 0 means IdleTimeout / 10.
	TouchAfter time.Duration `env:"TOUCH_AFTER"`

	// NotBefore refuses sessions that were created before that time. It signs everybody out with a deploy, and keeps the
	// sessions that a restored backup brings back from being used. Sessions made by PHP carry no creation time and are
	// refused. A NotBefore in the future refuses all sessions but those that were created in the minute before it. The zero
	// Time refuses none.
	NotBefore time.Time `env:"NOT_BEFORE"`

	// Concurrency is what happens if requests of one session overlap. 0 means [Merge].
	Concurrency Concurrency `env:"CONCURRENCY"`

	// LockWait is how long a request waits for the session under [Lock] before it gets ErrLocked. 0 means 10 s.
	LockWait time.Duration `env:"LOCK_WAIT"`

	// LockLease is how long a lock lasts if it is not given up. Choose it above the time of the slowest handler. If a server
	// dies, its sessions stay locked for as long. 0 means 30 s.
	LockLease time.Duration `env:"LOCK_LEASE"`

	// EventualReads reads with eventual consistency, at half the price. The cookie then carries the revision that the
	// browser's last response wrote. An answer is used only if it shows a live session that is no older than that; otherwise
	// the session is read again, consistently.
	//
	// A session that was destroyed a moment ago can still be read, but not written. Changes that were saved after the headers
	// of a response may show a moment later. Every save sets the cookie, so a response that arrives after the response of a
	// later save puts back the older revision: the later changes may then show a moment later. If the later save has
	// renewed the session, it puts back the old id, and the user must sign in again.
	//
	// Store.Read and ValidateID read consistently, and so does loading under Lock. EventualReads cannot be combined with
	// ForeignWriters.
	EventualReads bool `env:"EVENTUAL_READS"`

	// InsecurePlainIDs stores ids as they are, in place of their SHA-256, and accepts ids as PHP makes them. Sessions that are
	// shared with PHP need it. Anyone who can read the table can then take over every session.
	InsecurePlainIDs bool `env:"INSECURE_PLAIN_IDS"`

	// EncryptionKeys are AES-256 keys, of 32 bytes each, for the sessions' values. The first key encrypts, and all keys
	// decrypt. To change keys, add the new one second on all servers, then put it first, and drop the old one when the longest
	// session has ended. Stored values open only under their own session's id. With keys, values that are not encrypted do
	// not open: ErrCorrupt. The user, times and sizes are not encrypted. Empty means no encryption.
	EncryptionKeys [][]byte `env:"ENCRYPTION_KEYS"`

	// NoCompression turns off compression. Otherwise data is compressed if, and only if, that saves a write unit: with S2,
	// or with DEFLATE if that saves one more. Compressed data is read in any case.
	NoCompression bool `env:"NO_COMPRESSION"`

	// Cookie is the session's cookie.
	Cookie CookieConfig `envPrefix:"COOKIE_"`

	// Codec encodes the values. nil means [JSON].
	Codec Codec

	// Attributes are the names of the item's attributes that can be chosen.
	Attributes Attributes `envPrefix:"ATTRIBUTES_"`

	// BinaryData stores the data as B in place of S. Data that is compressed, encrypted or not UTF-8 is always B. Both types
	// are read.
	BinaryData bool `env:"BINARY_DATA"`

	// ForeignWriters says that programs such as PHP write the table without changing rev. Conditions then also compare the
	// data.
	ForeignWriters bool `env:"FOREIGN_WRITERS"`

	// UserIndex is the name of a global secondary index whose hash key is the user attribute. UserSessions and DestroyUser
	// need it. "" means no index.
	UserIndex string `env:"USER_INDEX"`

	// DeviceBound binds the sessions of signed-in users to the device of the browser, with Device Bound Session Credentials: a
	// copied cookie then opens a session for at most so long after the device's last proof. It is experimental, and only some
	// browsers know it; for others nothing changes. It is at least 5 m; 10 m are good. It needs HTTPS, and cannot be combined
	// with InsecurePlainIDs, ForeignWriters, LastWriteWins, and Domain, Insecure or Partitioned of Cookie. 0 means off. See
	// docs/device-bound.md.
	DeviceBound time.Duration `env:"DEVICE_BOUND"`

	// Timeout limits one load or one save, with all its retries. 0 means 5 s.
	Timeout time.Duration `env:"TIMEOUT"`

	// ErrorHandler answers a request whose session could not be loaded or saved, in place of the handler, and without the
	// headers that the handler has set. r is the request as the middleware got it, so Load returns ErrNoMiddleware. If
	// ErrorHandler writes nothing, the status is 500.
	//
	// nil means a plain text with status 503 and Retry-After for ErrUnavailable, ErrCredentials and ErrLocked, 409 for
	// ErrGone, ErrConflict and ErrLockLost, and 500 for other errors. All but 409 are logged. The answer with 409 asks a
	// person to reload the page; it is HTML if the request accepts that.
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)

	// Logger receives what cannot be returned to any caller: changes that come too late, and expiries that could not be
	// extended. nil means slog.Default().
	Logger *slog.Logger

	// Before, if it is not nil, is called before each operation, with the name that the operation's Event will have. The
	// context that it returns is that of the operation's calls to DynamoDB and of Observer: with a span in it, the spans of
	// the calls are inside that one. It must be derived from ctx, and must not be nil. Each operation is reported to
	// Observer once.
	Before func(ctx context.Context, op string) context.Context

	// Observer, if it is not nil, is called after each operation, in the goroutine that ran it. That need not be a request's.
	// Observer must not panic, and must not load the session of its context, which may be waiting for it.
	Observer func(ctx context.Context, e Event)
}

// CookieConfig describes the session's cookie (RFC 6265bis). The cookie is always HttpOnly, and Secure unless Insecure is
// set. Browsers drop Secure cookies over plain HTTP; Safari drops them for http://localhost, too.
type CookieConfig struct {
	// Name is the exact name of the cookie. "" means "__Host-Http-" and Config.Name, which browsers accept only from this
	// very host, and browsers that know the prefix not from scripts; "__Secure-" and Config.Name if there is a Domain or
	// Path; Config.Name if Insecure is set; and "__Host-" and Config.Name with DeviceBound, since browsers do not bind the other.
	Name string `env:"NAME"`
	// Domain shares the cookie with subdomains. "" means this host only.
	Domain string `env:"DOMAIN"`
	// Path is where the cookie is sent. "" means "/".
	Path string `env:"PATH"`
	// SameSite is when the requests of other sites carry the cookie. Its text in the environment is lax, strict or none.
	// 0 means Lax.
	SameSite http.SameSite `env:"SAME_SITE"`
	// Partitioned keeps a separate cookie for each embedding site (CHIPS). It needs Secure.
	Partitioned bool `env:"PARTITIONED"`
	// Persist lets the cookie outlive the browser, for as long as the session may last.
	Persist bool `env:"PERSIST"`
	// Insecure drops the Secure attribute, for plain HTTP in development.
	Insecure bool `env:"INSECURE"`
}

// Attributes are names of DynamoDB attributes. The names of the other attributes are fixed: rev, w, born, until, limit, auth,
// idle, lock, holder, moved.
type Attributes struct {
	ID      string `env:"ID"`      // the hash key, S; "" means "id"
	Expires string `env:"EXPIRES"` // the TTL attribute, N; "" means "expires"
	Data    string `env:"DATA"`    // S or B; "" means "data"
	User    string `env:"USER"`    // S; "" means "user"
}

// Concurrency is what happens if requests of one session overlap. Merge and Lock may be mixed on one table. LastWriteWins
// loses the changes of others by definition.
type Concurrency int

const (
	// Merge lets requests run in parallel, and merges their changes key by key. If two requests set the same key, the later
	// one wins. There is no lock and no waiting.
	Merge Concurrency = iota
	// Lock lets the requests that load a session run one after the other, like PHP. Loading takes the lock, and saving
	// gives it up.
	Lock
	// LastWriteWins stores the whole session as the last request sees it, like most libraries. It still does not bring back
	// a session that was destroyed.
	LastWriteWins
)

var concurrencies = []string{"merge", "lock", "last-write-wins"}

// String returns the text form: merge, lock or last-write-wins.
func (c Concurrency) String() string {
	if c < 0 || int(c) >= len(concurrencies) {
		return fmt.Sprintf("Concurrency(%d)", int(c))
	}
	return concurrencies[c]
}

// MarshalText returns the text form.
func (c Concurrency) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the text form, in upper or lower case, with or without hyphens.
func (c *Concurrency) UnmarshalText(text []byte) error {
	fold := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s))
	}
	for i, name := range concurrencies {
		if fold(string(text)) == fold(name) {
			*c = Concurrency(i)
			return nil
		}
	}
	return fmt.Errorf("dynasession: %q is none of %s", text, strings.Join(concurrencies, ", "))
}

// String returns the settings, without the keys.
func (c Config) String() string {
	var b strings.Builder
	b.WriteString("dynasession.Config{")
	for i, a := range c.attrs() {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s: %v", a.Key, a.Value)
	}
	b.WriteString("}")
	return b.String()
}

// GoString is String: no verb prints the keys.
func (c Config) GoString() string { return c.String() }

// Format prints String for every verb.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns the settings, without the keys.
func (c Config) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// attrs returns the fields that are set.
func (c Config) attrs() []slog.Attr {
	var out []slog.Attr
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		v := reflect.ValueOf(c).FieldByIndex(f.Index)
		if v.IsZero() {
			continue
		}
		switch v.Kind() {
		case reflect.Func, reflect.Interface, reflect.Pointer:
			out = append(out, slog.String(f.Name, "set"))
		case reflect.Slice:
			out = append(out, slog.String(f.Name, fmt.Sprintf("[%d keys]", v.Len())))
		default:
			out = append(out, slog.Any(f.Name, v.Interface()))
		}
	}
	return out
}
