package dynasession

import (
	"math"
	"time"
	"unicode/utf8"
)

// storeAsBinary tells whether data must be a B: DynamoDB's S is UTF-8.
func storeAsBinary(data []byte, always bool) bool { return always || !utf8.Valid(data) }

// seconds rounds d down to whole seconds, DynamoDB's unit of expiry: a session may end
// earlier than configured by less than one, never later.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// epoch gives t in epoch seconds, rounded down, and never 0 for a time that is set.
func epoch(t time.Time) int64 {
	return min(max(t.Unix(), 1), math.MaxInt64/4)
}

// timeOf is epoch's reverse: the zero Time for 0.
func timeOf(sec int64) time.Time {
	if sec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}
