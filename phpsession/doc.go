// Package phpsession shares live sessions with PHP, if the AWS SDK for PHP keeps them in DynamoDB: with plain PHP, with
// CakePHP 3 to 5, and with Symfony on the SDK's handler; or on AsyncAws' handler. A user who signs in at one side is
// signed in at the other, and either side may change the data. Laravel's own driver keeps other items, which this
// package does not read. The repository's docs/php.md says how to set up both sides, and what each of them loses.
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
// [PHP], [PHPSerialize] and [PHPBinary] are the formats that PHP's session.serialize_handler can be set to. In all of
// them values decode as follows.
//
//	PHP       Go, and in an any
//	null      the zero value; nil
//	bool      bool types
//	int       integer types that hold it, floats that hold it exactly, and strings; int64
//	float     float types, and strings, of 14 digits as in PHP; float64
//	string    strings, []byte, and types that implement encoding.TextUnmarshaler; a numeric string, as mysqli
//	          and PDO return numbers, also as number types that hold it exactly; string
//	array     slices and arrays, if the keys are ints; maps; structs. In an any, a []any for the keys 0, 1, 2
//	          and so on, a map[string]any for string keys, and a map[any]any of int64 and string keys otherwise
//	object    structs and maps, by the names of its properties, whatever their visibility; [Object]; a time.Time
//	          for PHP's DateTime and its subclasses; in an any, a *[Object]
//	enum      [Enum]
//	custom    [Custom], an object that encodes itself; in an any, a *[Custom]
//
// The time zone of a DateTime may be an offset of hours and minutes, a name such as Europe/Berlin, or UTC, GMT or Z. A
// DateTime with another abbreviation, such as EST, does not decode as a time.Time, since several zones share it.
//
// Tags name the fields of a struct, `php:"name"`; a field without one has its own name. The option omitempty leaves out
// a zero value, and the name "-" leaves out the field. The fields of an embedded struct belong to the struct.
// References are followed.
//
// Everything decodes as a [Value], which keeps what Go has no type for. Where PHP has a reference, pairs and pointers to
// Values hold the same Value. Other types get copies, and an error if these would be much larger than the data, or
// endless. Nothing in the data is ever run, and no class is made.
//
// Values encode the other way round: slices as arrays with the keys 0, 1, 2 and so on, maps with their keys sorted,
// structs as arrays, types that implement encoding.TextMarshaler, by themselves or by a pointer, as strings, nil
// pointers as null, and nil slices and maps as empty arrays. An object of PHP's stays an object only in a [Value], an
// [Object] or a [Custom]. Behind a pointer it is the same object wherever the pointer is; by value it is another object
// each time. A zero Object, Custom or Enum by value is null. A reference to the value itself, if that is an object,
// stays a reference if the *Value that was decoded is encoded; a copy of that Value holds a handle of the object instead
// (r: in place of R:).
//
// # What keeps its bytes
//
// A key that a request does not set is stored as PHP wrote it, byte for byte, with unknown classes and private
// properties. PHP numbers the values of the whole session, and references use these numbers (R: and r:), also across
// keys. So a change of one key changes the numbers under other keys, and these are corrected. Keys that share a
// reference or an object go on sharing it until one of them is set. That one then has its own value, and the others
// still share. Data that PHP could not read is refused: the save fails, and the item stays as it is. What only a class
// decides cannot be known here: a case that an enum lacks, or a DateTime with bad fields, is passed to PHP as it is.
//
// # Bad data
//
// Data that is cut or malformed is a [SyntaxError], with the offset and what was expected there. The request fails with
// dynasession.ErrCorrupt, and the item stays. Whatever counts and references say, a session is split, and each value is
// decoded, in time and memory in proportion to the data. What keys share is part of each of them, and is decoded for
// each.
//
// # With PHP at the same table
//
// PHP's handler writes whole sessions, without conditions. With its locking off, a PHP request that overlaps a Go
// request overwrites what the Go request has saved meanwhile, as it overwrites other PHP requests. With its locking on
// ('locking' => true), set Config.Concurrency to dynasession.Lock: each side then waits for the other. PHP still reads
// past a lock when it has waited for max_lock_wait_time, and then removes the lock. Go's save is then refused with
// dynasession.ErrLockLost, and overwrites nothing.
package phpsession
