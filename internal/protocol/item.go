// Package protocol is how sessions are stored: what an item is, every conditional write, and what a refusal of each
// means. README.md is the protocol itself, with the reason for each clause; package model checks it.
package protocol

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A Record is an item of the table. Times are epoch seconds, and 0 where the attribute is absent, but for Lock, which is
// in milliseconds.
type Record struct {
	Key     string
	Meta    Meta
	Expires int64
	Data    []byte // as stored, sealed or not; nil if absent
	Binary  bool   // Data is B, not S
	BadType bool   // the data attribute is neither
	Rev     int64
	Marks   string // the creation's write mark, then those of the last three writes
	Lock    int64
	Holder  string

	Tombstone bool   // the session was renewed: Moved names the item that it goes on under
	Moved     string // its key; "" if the attribute is not a string
}

// Meta is what an item says of its session beside the values.
type Meta struct {
	User  string
	Auth  int64 // when User signed in
	Born  int64
	Until int64 // the absolute end
	Limit int64 // the end that LimitTo has set, kept apart so that Remember cannot pass it
	Idle  int64 // in seconds; only of a remembered session
}

// Columns are the names of the attributes that a Config may choose.
type Columns struct{ ID, Expires, Data, User string }

// The attributes whose names no Config changes.
const (
	attrRev    = "rev"
	attrMarks  = "w"
	attrBorn   = "born"
	attrUntil  = "until"
	attrLimit  = "limit"
	attrAuth   = "auth"
	attrIdle   = "idle"
	attrLock   = "lock"
	attrHolder = "holder"
	attrMoved  = "moved"
)

// OwnAttributes returns the names of the attributes that no Config changes.
func OwnAttributes() []string {
	return []string{attrRev, attrMarks, attrBorn, attrUntil, attrLimit, attrAuth, attrIdle, attrLock, attrHolder, attrMoved}
}

// placeholders returns what stands for each attribute in an expression.
func (c Columns) placeholders() map[string]string {
	return map[string]string{
		"#i": c.ID, "#e": c.Expires, "#d": c.Data, "#us": c.User,
		"#r": attrRev, "#w": attrMarks, "#b": attrBorn, "#u": attrUntil, "#m": attrLimit,
		"#a": attrAuth, "#n": attrIdle, "#l": attrLock, "#h": attrHolder, "#mv": attrMoved,
	}
}

// item returns the whole item of r, without a lock.
func (c Columns) item(r *Record) map[string]types.AttributeValue {
	item := map[string]types.AttributeValue{c.ID: textValue(r.Key), c.Expires: numberValue(r.Expires)}
	if r.Data != nil {
		item[c.Data] = dataValue(r)
	}
	for _, a := range r.texts(c) {
		if a.value != "" && a.name != attrHolder {
			item[a.name] = textValue(a.value)
		}
	}
	for _, a := range r.numbers() {
		if a.value != 0 && a.name != attrLock {
			item[a.name] = numberValue(a.value)
		}
	}
	return item
}

type attribute[V any] struct {
	name  string
	value V
}

// texts returns the attributes of type S, but for the key and the data.
func (r *Record) texts(c Columns) [4]attribute[string] {
	return [...]attribute[string]{{c.User, r.Meta.User}, {attrMarks, r.Marks}, {attrHolder, r.Holder}, {attrMoved, r.Moved}}
}

// numbers returns the attributes of type N, but for the expiry.
func (r *Record) numbers() [7]attribute[int64] {
	return [...]attribute[int64]{
		{attrRev, r.Rev}, {attrBorn, r.Meta.Born}, {attrUntil, r.Meta.Until}, {attrLimit, r.Meta.Limit},
		{attrAuth, r.Meta.Auth}, {attrIdle, r.Meta.Idle}, {attrLock, r.Lock},
	}
}

func textValue(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }

func numberValue(v int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(v, 10)}
}

func dataValue(r *Record) types.AttributeValue {
	if r.Binary {
		return &types.AttributeValueMemberB{Value: r.Data}
	}
	return textValue(string(r.Data))
}

// Record reads an item; nil for an empty one. An attribute of another type than this package writes counts as absent, with
// three exceptions: Data then sets BadType, a lock counts as held, and moved still makes a tombstone.
func (c Columns) Record(item map[string]types.AttributeValue) *Record {
	if len(item) == 0 {
		return nil
	}
	r := new(Record)
	for name, v := range item {
		switch name {
		case c.ID:
			r.Key = text(v)
		case c.Expires:
			r.Expires = number(v)
		case c.Data:
			switch v := v.(type) {
			case *types.AttributeValueMemberS:
				r.Data = []byte(v.Value)
			case *types.AttributeValueMemberB:
				r.Data, r.Binary = v.Value, true
			default:
				r.BadType = true
			}
		case c.User:
			r.Meta.User = text(v)
		case attrRev:
			r.Rev = number(v)
		case attrMarks:
			r.Marks = text(v)
		case attrLock:
			if r.Lock = number(v); r.Lock < LeaseFrom {
				r.Lock = endless
			}
		case attrHolder:
			r.Holder = text(v)
		case attrMoved:
			r.Tombstone, r.Moved = true, text(v)
		case attrAuth:
			r.Meta.Auth = number(v)
		case attrBorn:
			r.Meta.Born = number(v)
		case attrUntil:
			r.Meta.Until = number(v)
		case attrLimit:
			r.Meta.Limit = number(v)
		case attrIdle:
			r.Meta.Idle = number(v)
		}
	}
	return r
}

func text(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// number returns a number, rounded down and kept far from where sums would overflow.
func number(v types.AttributeValue) int64 {
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return 0
	}
	const most = math.MaxInt64 / 4
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0
		}
		i = int64(math.Floor(min(max(f, -most), most)))
	}
	return min(max(i, -most), most)
}

// markLen is the length of a write mark.
const markLen = 8

// NewMark returns a random name for one save: 48 bits, enough to tell the writes of one session apart.
func NewMark() string {
	var b [markLen * 6 / 8]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Creation returns the mark of the write that made the item, or "" for an item that PHP made.
func (r *Record) Creation() string { return r.Marks[:min(markLen, len(r.Marks))] }

// HasMark reports whether the save with that mark made r, or is one of the last that changed it.
func (r *Record) HasMark(mark string) bool {
	for m := r.Marks; len(m) >= markLen; m = m[markLen:] {
		if m[:markLen] == mark {
			return true
		}
	}
	return false
}

// KeptMarks is how many of the last writes an item names, beside its creation.
const KeptMarks = 3

// MarksWith returns the marks of r after a write with mark: the creation's first, then mark, then the two last writes'. An
// item without marks takes mark as its creation's. All tries of a save have one mark, which is kept once.
func (r *Record) MarksWith(mark string) string {
	if r.Marks == "" {
		return mark
	}
	var b strings.Builder
	b.Grow((1 + KeptMarks) * markLen)
	b.WriteString(r.Creation())
	b.WriteString(mark)
	rest := r.Marks[len(r.Creation()):]
	for n := 1; n < KeptMarks && len(rest) >= markLen; n++ {
		if rest[:markLen] != mark {
			b.WriteString(rest[:markLen])
		}
		rest = rest[markLen:]
	}
	return b.String()
}

// SameAs reports whether r equals base in everything that the conditions of a save name.
func (l Rules) SameAs(r, base *Record) bool {
	sameData := bytes.Equal(r.Data, base.Data) && r.Binary == base.Binary && (r.Data == nil) == (base.Data == nil)
	return r.Rev == base.Rev && r.Marks == base.Marks && r.Expires == base.Expires &&
		r.Meta.Until == base.Meta.Until && r.Meta.Limit == base.Meta.Limit &&
		(sameData || !l.Foreign && base.Rev != 0)
}

const (
	// MaxItem is DynamoDB's limit for an item in bytes, names included (Developer Guide, "Quotas").
	MaxItem = 400 << 10
	// LockRoom is what a lock adds to an item, in bytes.
	LockRoom = len(attrLock) + (13+1)/2 + 1 + len(attrHolder) + markLen
)

// WriteUnits returns what DynamoDB bills for a write of that many bytes.
func WriteUnits(size int) int { return max(1, (size+1023)/1024) }

// Size returns the size of the item by DynamoDB's rules: the bytes of names and values. A number has a byte for two
// digits and one more; it is rounded up here.
func (r *Record) Size(c Columns) int {
	n := r.SizeWithoutData(c)
	if r.Data != nil {
		n += len(c.Data) + len(r.Data)
	}
	return n
}

// SizeWithoutData returns Size without the data attribute.
func (r *Record) SizeWithoutData(c Columns) int {
	n := len(c.ID) + len(r.Key) + len(c.Expires) + numberSize(r.Expires)
	for _, a := range r.numbers() {
		if a.value != 0 {
			n += len(a.name) + numberSize(a.value)
		}
	}
	for _, a := range r.texts(c) {
		if a.value != "" {
			n += len(a.name) + len(a.value)
		}
	}
	return n
}

func numberSize(v int64) int {
	digits := 1
	for v >= 10 || v <= -10 {
		v /= 10
		digits++
	}
	return (digits+1)/2 + 1
}
