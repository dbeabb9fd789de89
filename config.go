package dynasession

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caarlos0/env/v11"

	"github.com/dynasession/dynasession/internal/protocol"
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

// Config says where sessions are stored, and how long and how safely. The zero value is
// ready for production. [New] checks all of it and keeps a copy.
//
// [ConfigFromEnv] sets the fields that have an env tag from variables with the prefix
// DYNASESSION_, those of Cookie with DYNASESSION_COOKIE_, those of Attributes with
// DYNASESSION_ATTRIBUTES_. Durations are written like 30m, switches true or false, NotBefore
// as RFC 3339 has it, EncryptionKeys in base64 with commas between.
type Config struct {
	// Table is the name, or ARN, of the DynamoDB table. "": "sessions".
	Table string `env:"TABLE"`

	// Name is the prefix of the items' keys, and of the cookie's name: stores of different
	// names can share a table. Letters, digits, and "._-", of which "_" cannot be the first, since
	// PHP's handler cuts it off. "": "session".
	Name string `env:"NAME"`

	// IdleTimeout ends a session that nobody uses. At least 1 s, at most Lifetime; parts of a
	// second are dropped. 0: 1 h, or Lifetime if that is shorter (NIST SP 800-63B-4, section
	// 2.2.3, recommends 1 h for AAL2).
	IdleTimeout time.Duration `env:"IDLE_TIMEOUT"`

	// Lifetime ends a session, whatever its use, so long after it was made. At least 1 s.
	// 0: 24 h (NIST SP 800-63B-4, section 2.2.3, for AAL2).
	Lifetime time.Duration `env:"LIFETIME"`

	// TouchAfter is how old the stored expiry may grow before a request that only reads the
	// session writes it again. A session so ends never later than IdleTimeout after its last
	// use, and at most TouchAfter earlier. Each such write is billed for the whole item. It
	// must be less than IdleTimeout. 0: IdleTimeout / 10.
	TouchAfter time.Duration `env:"TOUCH_AFTER"`

	// NotBefore refuses sessions that were made before: everybody is signed out by a deploy,
	// and sessions that a restored backup brings back stay dead. It refuses all that PHP makes,
	// which tell no birth. A time that is yet to come refuses all, but for those made in its last
	// minute. The zero Time: none are.
	NotBefore time.Time `env:"NOT_BEFORE"`

	// Concurrency is what happens when requests of one session overlap. 0: [Merge].
	Concurrency Concurrency `env:"CONCURRENCY"`

	// LockWait is how long a request under [Lock] waits for the session, before ErrLocked.
	// 0: 10 s.
	LockWait time.Duration `env:"LOCK_WAIT"`

	// LockLease is how long a lock holds without being given up: choose it above the slowest
	// handler. A server that dies leaves a session locked for so long. 0: 30 s.
	LockLease time.Duration `env:"LOCK_LEASE"`

	// EventualReads reads at half the price. What such a read shows is used only if it is
	// live and no older than what this browser's last response wrote, whose revision the
	// cookie then carries; else it is read again, strongly. A session that was just destroyed
	// elsewhere can still be read for a moment, never written; and what was saved after a response's
	// headers had gone may show a moment later. Every save sets the cookie then, and a response may
	// arrive after that of a later save of a parallel request. Its cookie puts the older revision
	// back, so that what the other wrote may show a moment later too; and, if the other has renewed
	// the session, the old id, so that the user has to sign in again. Store.Read and ValidateID read
	// strongly. It can't be set together with ForeignWriters. Under Lock, loading reads strongly by
	// itself.
	EventualReads bool `env:"EVENTUAL_READS"`

	// InsecurePlainIDs stores ids as they are, instead of their SHA-256, and accepts ids as PHP
	// makes them: sharing sessions with PHP needs it. Whoever reads the table can then take over
	// every session.
	InsecurePlainIDs bool `env:"INSECURE_PLAIN_IDS"`

	// EncryptionKeys are AES-256 keys, of 32 bytes each, for the sessions' values. The first
	// encrypts, all decrypt. To change keys, add the new one second on all servers, then put it
	// first, and drop the old one when the longest session has ended. Stored values open only
	// under their own session's id. With keys, values that are not encrypted do not open:
	// ErrCorrupt. User, times and sizes are not hidden. Empty: none.
	EncryptionKeys [][]byte `env:"ENCRYPTION_KEYS"`

	// NoCompression turns compression off, which is used when, and only when, it saves a write
	// unit: by S2, or by DEFLATE where that saves one more. What is stored is read either way.
	NoCompression bool `env:"NO_COMPRESSION"`

	// Cookie is the session's cookie.
	Cookie CookieConfig `envPrefix:"COOKIE_"`

	// Codec encodes the values. nil: [JSON].
	Codec Codec

	// Attributes are the names of the attributes that others may want to choose.
	Attributes Attributes `envPrefix:"ATTRIBUTES_"`

	// BinaryData stores the data as B instead of S. Compressed, encrypted and non-UTF-8 data is
	// always B; both are read.
	BinaryData bool `env:"BINARY_DATA"`

	// ForeignWriters says that others write the table without moving rev, as PHP does: the
	// conditions then compare the data itself.
	ForeignWriters bool `env:"FOREIGN_WRITERS"`

	// UserIndex is the name of a global secondary index whose hash key is the user attribute:
	// UserSessions and DestroyUser need it. "": none.
	UserIndex string `env:"USER_INDEX"`

	// Timeout is for one load or one save, retries included. 0: 5 s.
	Timeout time.Duration `env:"TIMEOUT"`

	// ErrorHandler answers a request whose session could not be loaded or saved, in place of the
	// handler, and without the headers that it has set. r is the request as the middleware got it:
	// Load gives ErrNoMiddleware. If it writes nothing, the status is 500. nil: a plain text with
	// status 503 and Retry-After for ErrUnavailable, ErrCredentials and ErrLocked, 409 for ErrGone,
	// ErrConflict and ErrLockLost, and 500 for others; all but 409 are logged. That of 409 tells a
	// person to reload the page, as HTML if the request accepts that.
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)

	// Logger takes what no caller can be told: changes that come too late, expiries that could
	// not be extended. nil: slog.Default().
	Logger *slog.Logger

	// Observer, if set, is called after each operation, in the goroutine that did it, which may be
	// none of a request's. It must not panic, and not ask for the session of its context, which
	// may be waiting for it.
	Observer func(ctx context.Context, e Event)
}

// CookieConfig says what the session's cookie looks like (RFC 6265bis). It always is
// HttpOnly, and Secure unless Insecure is set. Over plain HTTP browsers drop Secure cookies, Safari also
// those of http://localhost.
type CookieConfig struct {
	// Name is the cookie's exact name. "": "__Host-" and Config.Name, which browsers accept from
	// this very host only; "__Secure-" and Config.Name with a Domain or Path; Config.Name when
	// Insecure.
	Name string `env:"NAME"`
	// Domain shares the cookie with subdomains. "": this host only.
	Domain string `env:"DOMAIN"`
	// Path is where the cookie is sent. "": "/".
	Path string `env:"PATH"`
	// SameSite is when other sites' requests carry the cookie; text in the environment: lax,
	// strict, none. 0: Lax.
	SameSite http.SameSite `env:"SAME_SITE"`
	// Partitioned keeps a jar for each embedding site (CHIPS). It needs Secure.
	Partitioned bool `env:"PARTITIONED"`
	// Persist lets the cookie outlive the browser, for as long as the session may live.
	Persist bool `env:"PERSIST"`
	// Insecure drops the Secure attribute: for plain HTTP, in development.
	Insecure bool `env:"INSECURE"`
}

// Attributes are names of DynamoDB attributes. The others' names are fixed: rev, w, born,
// until, limit, auth, idle, lock, holder, moved.
type Attributes struct {
	ID      string `env:"ID"`      // the hash key, S. "": "id"
	Expires string `env:"EXPIRES"` // the TTL attribute, N. "": "expires"
	Data    string `env:"DATA"`    // S or B. "": "data"
	User    string `env:"USER"`    // S. "": "user"
}

// Concurrency is what happens when requests of one session overlap. Merge and Lock may
// meet on one table; LastWriteWins loses others' changes by definition.
type Concurrency int

const (
	// Merge lets requests run in parallel and merges what they changed, key by key: of two
	// that set the same key the later one counts. No lock, no waiting.
	Merge Concurrency = iota
	// Lock lets the requests that load a session run one after the other, like PHP. Loading
	// takes the lock, saving gives it up.
	Lock
	// LastWriteWins stores the whole session as the last request sees it, like most libraries.
	// It still refuses to bring a session back that was destroyed.
	LastWriteWins
)

var concurrencies = []string{"merge", "lock", "last-write-wins"}

// String gives the text form: merge, lock, last-write-wins.
func (c Concurrency) String() string {
	if c < 0 || int(c) >= len(concurrencies) {
		return fmt.Sprintf("Concurrency(%d)", int(c))
	}
	return concurrencies[c]
}

// MarshalText gives the text form.
func (c Concurrency) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the text form, in any case, with or without hyphens.
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

// faults gathers what is wrong with a Config.
type faults []error

func (f *faults) add(field string, value any, allowed string) {
	*f = append(*f, fmt.Errorf("dynasession: Config.%s is %v: %s", field, value, allowed))
}

func (f *faults) check(ok bool, field string, value any, allowed string) {
	if !ok {
		f.add(field, value, allowed)
	}
}

// complete gives c with its defaults filled in, and all that is wrong with it.
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
	c.Cookie.complete(c.Name, &f)
	return c, errors.Join(f...)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// checkTimes fills their defaults in, too. Of a field whose value is wrong, the default goes
// on, so that no fault is told of fields that depend on it.
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

// tableARN tells whether s has the form of a table's ARN, in any partition (AWS Service
// Authorization Reference, "Resource types defined by Amazon DynamoDB"). Those of indexes,
// streams and backups are none.
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

// complete fills the defaults in, and checks what browsers ask of cookies.
func (c *CookieConfig) complete(name string, f *faults) {
	plainPath := c.Path == "" || c.Path == "/"
	setDefault(&c.Path, "/")
	setDefault(&c.SameSite, http.SameSiteLaxMode)
	if c.Name == "" {
		switch {
		case c.Insecure:
			c.Name = name
		case c.Domain == "" && plainPath:
			c.Name = "__Host-" + name
		default:
			c.Name = "__Secure-" + name
		}
	}
	f.check(len(c.Name) <= 256 && onlyIn(c.Name, tokenChars), "Cookie.Name", quote(c.Name), "must be up to 256 characters of a token (RFC 9110, section 5.6.2)")
	// Browsers compare the prefixes without regard to case.
	lower := strings.ToLower(c.Name)
	if strings.HasPrefix(lower, "__host-") {
		f.check(!c.Insecure && c.Domain == "" && plainPath, "Cookie.Name", quote(c.Name), "the prefix __Host- cannot go with Insecure, a Domain, or a Path other than /")
	}
	if strings.HasPrefix(lower, "__secure-") {
		f.check(!c.Insecure, "Cookie.Name", quote(c.Name), "the prefix __Secure- cannot go with Insecure")
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

// envPrefix begins the names of the environment's variables.
const envPrefix = "DYNASESSION_"

// ConfigFromEnv makes a Config of the environment's DYNASESSION_* variables: see [Config]
// for their names. What is unset or empty stays zero. Its error names every variable that
// does not parse, with its value and what is allowed, and every variable with the prefix that is no
// setting: a misspelt one would be ignored. Ranges are checked by [New].
func ConfigFromEnv() (Config, error) {
	c, err := parseEnv()
	if err := errors.Join(unknownVariables(os.Environ()), err); err != nil {
		return Config{}, err
	}
	return c, nil
}

// unknownVariables returns an error for each variable that has the prefix and is no setting.
func unknownVariables(environ []string) error {
	known := variables(reflect.TypeFor[Config](), envPrefix)
	var out []error
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) {
			continue
		}
		nearest := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
		out = append(out, fmt.Errorf("dynasession: %s is no setting: the nearest is %s", name, nearest))
	}
	slices.SortFunc(out, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(out...)
}

// variables returns the names of the environment's variables for the fields of a struct.
func variables(t reflect.Type, prefix string) (names []string) {
	for _, f := range reflect.VisibleFields(t) {
		if p, ok := f.Tag.Lookup("envPrefix"); ok {
			names = append(names, variables(f.Type, prefix+p)...)
		}
		if name, ok := f.Tag.Lookup("env"); ok {
			names = append(names, prefix+name)
		}
	}
	return names
}

// distance is Levenshtein's: how many bytes must be put in, taken out or replaced.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func parseEnv() (Config, error) {
	var c Config
	err := env.ParseWithOptions(&c, env.Options{Prefix: envPrefix, FuncMap: map[reflect.Type]env.ParserFunc{
		reflect.TypeFor[http.SameSite](): parseSameSite,
		reflect.TypeFor[[][]byte]():      parseKeys,
	}})
	if err == nil {
		return c, nil
	}
	all := env.AggregateError{}
	if !errors.As(err, &all) {
		return Config{}, fmt.Errorf("dynasession: environment: %w", err)
	}
	var out []error
	for _, err := range all.Errors {
		parse := env.ParseError{}
		if !errors.As(err, &parse) {
			out = append(out, fmt.Errorf("dynasession: environment: %w", err))
			continue
		}
		name, kind := envVariable(reflect.TypeFor[Config](), envPrefix, parse.Name)
		value := quote(os.Getenv(name))
		if kind == reflect.TypeFor[[][]byte]() {
			value = "set, but not shown" // it is a secret
		}
		out = append(out, fmt.Errorf("dynasession: %s is %s: must be %s", name, value, envAllowed[kind]))
	}
	return Config{}, errors.Join(out...)
}

// envVariable finds the variable of a field that can fail to parse. Their names are
// unique over Config and its parts.
func envVariable(t reflect.Type, prefix, field string) (name string, kind reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		if p, ok := f.Tag.Lookup("envPrefix"); ok {
			if name, kind := envVariable(f.Type, prefix+p, field); name != "" {
				return name, kind
			}
		}
		if f.Name == field && f.Type.Kind() != reflect.String {
			return prefix + f.Tag.Get("env"), f.Type
		}
	}
	return "", nil
}

var sameSites = map[string]http.SameSite{"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode}

var envAllowed = map[reflect.Type]string{
	reflect.TypeFor[time.Duration](): "a duration, such as 90s, 30m or 24h",
	reflect.TypeFor[time.Time]():     "a time as RFC 3339 has it, such as 2026-01-02T15:04:05Z",
	reflect.TypeFor[bool]():          "true or false",
	reflect.TypeFor[Concurrency]():   strings.Join(concurrencies, ", "),
	reflect.TypeFor[http.SameSite](): strings.Join(slices.Sorted(maps.Keys(sameSites)), ", "),
	reflect.TypeFor[[][]byte]():      "keys in base64, with commas between",
}

func parseSameSite(text string) (any, error) {
	if v, ok := sameSites[strings.ToLower(text)]; ok {
		return v, nil
	}
	return nil, errors.New("unknown")
}

func parseKeys(text string) (any, error) {
	var keys [][]byte
	for part := range strings.SplitSeq(text, ",") {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(part))
		if err != nil {
			return nil, errors.New("not base64")
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// String tells the settings, without the keys.
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

// LogValue tells the settings, without the keys.
func (c Config) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// attrs gives the fields that are set.
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
