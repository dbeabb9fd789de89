package phpsession

import (
	"strings"
	"time"

	"github.com/dynasession/dynasession"
)

// PHP's defaults.
const (
	defaultName     = "PHPSESSID"                // session.name
	defaultLifetime = 1440 * time.Second         // session.gc_maxlifetime
	forever         = 100 * 365 * 24 * time.Hour // the most that a Store takes
	lease           = 7 * time.Second            // below max_lock_wait_time, 10 s
)

// Config returns the settings that a table needs which PHP writes too. name is PHP's session.name: "PHPSESSID", which
// is also the meaning of "", or "CAKEPHP", for instance.
//
// They are PHP's defaults, and a LockLease of 7 s. If the PHP side has other settings, change
//
//	Table            table_name
//	IdleTimeout      session_lifetime, or session.gc_maxlifetime; if TouchAfter is set, change it too
//	Codec            session.serialize_handler: PHP{}, PHPSerialize{}, PHPBinary{}
//	BinaryData       data_attribute_type: true for "binary"
//	Attributes       hash_key, data_attribute, session_lifetime_attribute
//	Concurrency      locking: dynasession.Lock for true
//	LockWait         max_lock_wait_time
//	LockLease        less than max_lock_wait_time: PHP waits no longer for a Go process that has died
//	Cookie           session.cookie_domain, _path, _samesite; Insecure for a site on plain HTTP
//
// Ids are stored as they are, as PHP stores them: anyone who can read the table can take over every session. Nothing
// is compressed or encrypted. PHP knows no end of a session but its idle time, so Lifetime is set to 100 years. Set a
// lower one for an end that Go's requests enforce.
//
// The cookie has PHP's name, path and lifetime. It is Secure, HttpOnly and SameSite=Lax. PHP's cookie has these
// attributes only if session.cookie_secure and so on are set: set them.
func Config(name string) dynasession.Config {
	if name == "" {
		name = defaultName
	}
	return dynasession.Config{
		Name:             strings.TrimLeft(name, "_"), // as PHP's handler cuts it off the keys
		IdleTimeout:      defaultLifetime,
		Lifetime:         forever,
		LockLease:        lease,
		InsecurePlainIDs: true,
		ForeignWriters:   true,
		NoCompression:    true,
		Codec:            PHP{},
		Cookie:           dynasession.CookieConfig{Name: name},
	}
}
