// Package phpsession shares live sessions with PHP, whose sessions the AWS SDK for PHP keeps in
// DynamoDB: plain PHP, CakePHP 3 to 5, and Symfony on the SDK's handler; or AsyncAws' handler. Who signs in
// at one is signed in at the other, and either may change the data. Laravel's own driver keeps other items,
// and is not read. The repository's docs/php.md says how to set both sides up, and what each loses.
//
//	cfg := phpsession.Config("PHPSESSID")
//	cfg.Table = "sessions"
//	store, err := dynasession.New(client, cfg)
//
// A handler then reads and writes what PHP has in $_SESSION:
//
//	var user struct {
//		ID    int    `php:"id"`
//		Email string `php:"email"`
//	}
//	err := sess.Decode("user", &user)
//	email, ok := phpsession.Lookup[string](sess, "Auth.User.email") // as CakePHP's $session->read
//	sess.Set("seen", []string{"intro"})
//
// # Values
//
// [PHP], [PHPSerialize] and [PHPBinary] are the formats that PHP's session.serialize_handler
// names. In all of them values decode as follows.
//
//	PHP       Go, and in an any
//	null      the zero value; nil
//	bool      bool types
//	int       integer types that hold it, floats that hold it exactly, and strings; int64
//	float     float types, and strings, of 14 digits as PHP's
//	string    strings, []byte, and what implements encoding.TextUnmarshaler; numeric strings, as
//	          mysqli and PDO give them, also number types that hold them exactly; string
//	array     slices and arrays, of values under int keys; maps; structs. In an any, a []any
//	          for the keys 0, 1, 2 and so on, a map[string]any for string keys, else a
//	          map[any]any of int64 and string keys
//	object    structs and maps, by the names of its properties, whatever their visibility;
//	          [Object]; a time.Time for PHP's DateTime and its like; in an any, an *[Object]
//	enum      [Enum]
//	custom    [Custom], an object with an encoding of its own; in an any, a *[Custom]
//
// A DateTime's zone may be an offset of hours and minutes, a name like Europe/Berlin, or UTC, GMT or Z. Other
// abbreviations, as EST, do not decode as a time.Time, since zones share them.
//
// A struct's fields are named by tags, `php:"name"`; without one, by their own names. The
// option omitempty leaves zero values out, the name "-" the field. Fields of embedded structs
// count as the struct's own. References are followed.
//
// Everything decodes as a [Value], which keeps what Go has no type for. Where PHP has a reference, pairs
// and pointers to Values hold the same Value; other types get copies, and an error when these would be
// much larger than the data, or endless. Nothing in the data is ever run, and no class is made.
//
// Values encode the other way round: slices as arrays with the keys 0, 1, 2 and so on,
// maps with their keys sorted, structs as arrays, what implements encoding.TextMarshaler, by itself or by a pointer, as a
// string, nil pointers as null, nil slices and maps as empty arrays. What PHP had as an object
// stays one only in a [Value], an [Object] or a [Custom]. By a pointer that is the same object wherever the pointer is,
// else one of its own each time. A zero Object, Custom or Enum by value is null. A reference to the value itself, where
// that is an object, stays one if the *Value that was decoded is encoded; a copy of that Value holds a handle of the
// object instead (r: for R:).
//
// # What keeps its bytes
//
// A key that a request does not set goes back as PHP wrote it, byte for byte: unknown classes
// and private properties too. PHP numbers the values of the whole session and lets references
// name them (R: and r:), also across keys: so a change of one key changes numbers under others, and
// those are set right. Keys that share a reference or an object go on sharing it, until one is set, which then
// has a value of its own; the others still share. What PHP could not read back is refused: the save
// fails, and the item stays as it is. What only a class decides cannot be known here: a case that the
// enum lacks, or a DateTime with bad fields, goes to PHP as it is.
//
// # Bad data
//
// Data that is cut or malformed is a [SyntaxError], with the offset and what was expected there; the request
// fails with dynasession.ErrCorrupt, and the item stays. Whatever counts and references say, a session is taken
// apart, and each value decoded, in time and memory that are in proportion to the data. What keys share is
// part of each of them, and decoded for each.
//
// # With PHP at the same table
//
// PHP's handler writes whole sessions, without conditions. With its locking off, a PHP request
// that overlaps a Go request overwrites what the Go request saved meanwhile, as it overwrites other PHP
// requests. With its locking on ('locking' => true), set Config.Concurrency to dynasession.Lock: each then waits for
// the other. PHP still reads past a lock when it has waited for max_lock_wait_time, and then takes
// it away; Go's save then is refused with dynasession.ErrLockLost, and overwrites nothing.
package phpsession
