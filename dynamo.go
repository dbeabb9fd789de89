package dynasession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/wire"
)

// table speaks DynamoDB's data operations, and nothing but them. Its conditions are the
// storage protocol: a model checker found a lost or revived session for each clause that
// is left out.
type table struct {
	client  *dynamodb.Client
	name    string
	region  string
	attrs   Attributes
	alias   map[string]string // of expressions: #e for the name of the expiry attribute
	foreign bool              // others write items without moving rev
	revs    bool              // cookies carry rev
	metered bool              // ask for the capacity units that each call takes

	mu       sync.RWMutex
	wordings map[string]*wording // by update and condition
}

func newTable(client *dynamodb.Client, cfg *Config) *table {
	client = wire.Client(client)
	a := cfg.Attributes
	return &table{
		client: client, name: cfg.Table, region: client.Options().Region, attrs: a, foreign: cfg.ForeignWriters, revs: cfg.EventualReads, metered: cfg.Observer != nil,
		alias: map[string]string{
			"#i": a.ID, "#e": a.Expires, "#d": a.Data, "#us": a.User,
			"#r": attrRev, "#w": attrMarks, "#b": attrBorn, "#u": attrUntil, "#m": attrLimit,
			"#a": attrAuth, "#n": attrIdle, "#l": attrLock, "#h": attrHolder, "#mv": attrMoved,
		},
		wordings: make(map[string]*wording),
	}
}

// trace gathers what an operation cost and met, over all its calls.
type trace struct {
	readUnits, writeUnits float64
	conflicts             int
	wire.Call             // of the present call
}

// watch returns a context for one call that t learns about.
func (t *trace) watch(ctx context.Context) context.Context {
	t.Unanswered = false
	return wire.Watch(ctx, &t.Call)
}

// refusal is a condition that did not hold, and the item as it was then: nil for none.
type refusal struct{ item *Record }

func (*refusal) Error() string { return "dynasession: the condition did not hold" }

var (
	// errBusy is a transaction under way on the same item: a refusal that says nothing of the item.
	errBusy = errors.New("dynasession: another transaction is under way")
	// errThrottled is a transaction that was cancelled because DynamoDB throttles one of its items.
	errThrottled = errors.New("dynasession: a transaction was throttled")
	// errUnwritable is an item with an attribute that is not as this package writes it, so that no write
	// of a save can take effect.
	errUnwritable = errors.New("an attribute of the item has a type or value that this package does not write")
)

// expression is an update and its condition in the making.
type expression struct {
	set, remove, add, cond clauseList
	values                 map[string]types.AttributeValue
}

// clauseList has room for all that any expression here has: save's are the longest.
type clauseList struct {
	n  int
	at [16]string
}

func clauses(all ...string) (l clauseList) {
	l.append(all...)
	return l
}

func (l *clauseList) append(all ...string) {
	for _, clause := range all {
		l.at[l.n] = clause
		l.n++
	}
}

func (l *clauseList) text(buf []byte, before, between string) []byte {
	for i, clause := range l.at[:l.n] {
		if i > 0 {
			before = between
		}
		buf = append(append(buf, before...), clause...)
	}
	return buf
}

func (x *expression) bind(name string, v types.AttributeValue) {
	if x.values == nil {
		x.values = make(map[string]types.AttributeValue, 8)
	}
	x.values[name] = v
}

func (x *expression) num(name string, v int64) { x.bind(name, numberValue(v)) }
func (x *expression) str(name, v string)       { x.bind(name, &types.AttributeValueMemberS{Value: v}) }

// wording is an expression's text: the same for all calls of a kind, so it is made once.
type wording struct {
	update, cond string
	names        map[string]string
}

func (t *table) worded(x *expression) *wording {
	var room [1024]byte
	buf := x.set.text(room[:0], "SET ", ", ")
	buf = x.remove.text(buf, " REMOVE ", ", ")
	buf = x.add.text(buf, " ADD ", ", ")
	n := len(buf)
	buf = x.cond.text(buf, "", " AND ")
	t.mu.RLock()
	w := t.wordings[string(buf)]
	t.mu.RUnlock()
	if w == nil {
		w = &wording{update: string(buf[:n]), cond: string(buf[n:])}
		w.names = t.names(w.update, w.cond)
		t.mu.Lock()
		t.wordings[string(buf)] = w
		t.mu.Unlock()
	}
	return w
}

// names gives the placeholders that the expressions use: DynamoDB refuses others.
func (t *table) names(expressions ...string) map[string]string {
	names := make(map[string]string, 8)
	for _, x := range expressions {
		for i := strings.IndexByte(x, '#'); i >= 0; i = strings.IndexByte(x, '#') {
			end := i + 1
			for end < len(x) && x[end] >= 'a' && x[end] <= 'z' {
				end++
			}
			names[x[i:end]] = t.alias[x[i:end]]
			x = x[end:]
		}
	}
	return names
}

func numberValue(v int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(v, 10)}
}

func (t *table) key(key string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{t.attrs.ID: &types.AttributeValueMemberS{Value: key}}
}

func (t *table) capacity() types.ReturnConsumedCapacity {
	if t.metered {
		return types.ReturnConsumedCapacityTotal
	}
	return ""
}

func units(c *types.ConsumedCapacity) float64 {
	if c == nil || c.CapacityUnits == nil {
		return 0
	}
	return *c.CapacityUnits
}

// get reads the item; nil for none.
func (t *table) get(ctx context.Context, tr *trace, key string, strong bool) (*Record, error) {
	out, err := t.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.name, Key: t.key(key), ConsistentRead: &strong, ReturnConsumedCapacity: t.capacity(),
	})
	if err != nil {
		return nil, t.translate("GetItem", err)
	}
	tr.readUnits += units(out.ConsumedCapacity)
	return own("GetItem", key, t.record(out.Item))
}

// own returns r if it is the item of key, or nil for none. A broken proxy or connection may answer
// with what another request asked for: another user's session.
func own(op, key string, r *Record) (*Record, error) {
	if r != nil && r.Key != key {
		return nil, unavailable(op, &wire.Error{What: "belongs to another request"})
	}
	return r, nil
}

// refused translates the error of a write to the item of key.
func (t *table) refused(tr *trace, op, key string, err error) error {
	err = t.translate(op, err)
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		if _, wrong := own(op, key, refused.item); wrong != nil {
			tr.Unanswered = true // ours may be done
			return wrong
		}
	}
	return err
}

// create puts an item that must not be there yet.
func (t *table) create(ctx context.Context, tr *trace, r *Record) error {
	return t.put(ctx, tr, r, &expression{cond: clauses("attribute_not_exists(#i)")})
}

func (t *table) put(ctx context.Context, tr *trace, r *Record, x *expression) error {
	text := t.worded(x)
	out, err := t.client.PutItem(tr.watch(ctx), &dynamodb.PutItemInput{
		TableName:                           &t.name,
		Item:                                t.item(r),
		ConditionExpression:                 &text.cond,
		ExpressionAttributeNames:            text.names,
		ExpressionAttributeValues:           x.values,
		ReturnConsumedCapacity:              t.capacity(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if err != nil {
		return t.refused(tr, "PutItem", r.Key, err)
	}
	tr.writeUnits += units(out.ConsumedCapacity)
	return nil
}

func (t *table) updateItem(ctx context.Context, tr *trace, key string, x *expression, back types.ReturnValue, how ...func(*dynamodb.Options)) (*Record, error) {
	text := t.worded(x)
	out, err := t.client.UpdateItem(tr.watch(ctx), &dynamodb.UpdateItemInput{
		TableName:                           &t.name,
		Key:                                 t.key(key),
		UpdateExpression:                    &text.update,
		ConditionExpression:                 &text.cond,
		ExpressionAttributeNames:            text.names,
		ExpressionAttributeValues:           x.values,
		ReturnConsumedCapacity:              t.capacity(),
		ReturnValues:                        back,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, how...)
	if err != nil {
		return nil, t.refused(tr, "UpdateItem", key, err)
	}
	tr.writeUnits += units(out.ConsumedCapacity)
	return t.record(out.Attributes), nil
}

// guards of a write onto the item that base was read from.

// same holds for the session that was loaded, and not for one that was made again under
// its id. For an item that was loaded without a mark there is nothing to compare:
// strict asks that it still has none.
func (t *table) same(x *expression, base *Record, strict bool) {
	switch {
	case base.Marks != "":
		x.cond.append("begins_with(#w, :c)")
		x.str(":c", base.Creation())
	case strict:
		x.cond.append("attribute_not_exists(#w)")
	}
}

// unchanged holds while nobody has written the session's data. Writers that do not move
// rev are found by comparing the data; but not by the data alone, since a change of user
// leaves it as it was.
func (t *table) unchanged(x *expression, base *Record) {
	if base.Rev != 0 {
		x.cond.append("#r = :r")
		x.num(":r", base.Rev)
	} else {
		x.cond.append("attribute_not_exists(#r)")
	}
	if !t.foreign && base.Rev != 0 {
		return
	}
	if base.Data == nil {
		x.cond.append("attribute_not_exists(#d)")
		return
	}
	x.cond.append("#d = :d0")
	x.bind(":d0", dataValue(base))
}

// unmoved reports whether item equals base in all that the conditions of a save name.
func (t *table) unmoved(item, base *Record) bool {
	sameData := bytes.Equal(item.Data, base.Data) && item.Binary == base.Binary && (item.Data == nil) == (base.Data == nil)
	return item.Rev == base.Rev && item.Marks == base.Marks && item.Expires == base.Expires &&
		item.Meta.Until == base.Meta.Until && item.Meta.Limit == base.Meta.Limit &&
		(sameData || !t.foreign && base.Rev != 0)
}

// leased holds while the lock is the one that was taken. holder alone does not do: PHP
// removes lock and leaves holder.
func leased(x *expression, l *lease) {
	x.cond.append("#l = :end", "#h = :me")
	x.num(":end", l.end)
	x.str(":me", l.holder)
}

func alive(x *expression, base *Record, now int64) {
	x.cond.append("#e > :now")
	x.num(":now", now)
	if base.Meta.Until != 0 && base.Meta.Until <= now { // ended, though PHP has moved expires
		x.cond.append("(attribute_not_exists(#u) OR #u > :now)")
	}
}

// saving says how a save goes about.
type saving struct {
	now   int64
	merge bool // it must not pass over what others have written
	end   Extension
	lease *lease // given up by the same write; nil: none
}

// save turns base into next. Without merge, next may get a higher rev.
func (t *table) save(ctx context.Context, tr *trace, base, next *Record, how saving) error {
	x := &expression{set: clauses("#e = :e", "#w = :w")}
	merge, l := how.merge, how.lease
	x.num(":e", next.Expires)
	x.str(":w", next.Marks)
	if merge {
		x.set.append("#r = :r1")
		x.num(":r1", next.Rev)
	} else {
		x.add.append("#r :one")
		x.num(":one", 1)
	}
	if next.Data != nil {
		x.set.append("#d = :d")
		x.bind(":d", dataValue(next))
	} else {
		x.remove.append("#d")
	}
	stamp(x, base, next)
	x.attr("#us", ":us", base.Meta.User, next.Meta.User)
	x.attrNum("#a", ":a", base.Meta.Auth, next.Meta.Auth)
	x.attrNum("#n", ":n", base.Meta.Idle, next.Meta.Idle)
	x.attrNum("#m", ":m", base.Meta.Limit, next.Meta.Limit)
	if l != nil {
		leased(x, l)
		x.remove.append("#l", "#h")
	}
	alive(x, base, how.now)
	t.same(x, base, merge)
	how.end.condition(x)
	switch {
	case merge:
		t.unchanged(x, base)
	case x.values[":u"] == nil || base.Meta.Until == 0 && next.Meta.Limit == 0 && next.Meta.Idle == 0:
		x.cond.append(notPastEnd)
	default: // it sets an end, and must not pass the limit that another has set
		x.cond.append("(attribute_not_exists(#m) OR #m >= :u)")
		if base.Marks == "" { // else the mark refuses a tombstone
			x.cond.append("attribute_not_exists(#mv)")
		}
	}
	back := types.ReturnValue("")
	if t.revs && !merge { // others may have moved rev meanwhile
		back = types.ReturnValueUpdatedNew
	}
	stored, err := t.updateItem(ctx, tr, base.Key, x, back)
	if stored != nil {
		next.Rev = stored.Rev
	}
	return err
}

// notPastEnd holds while the absolute end is not before the expiry that a write sets.
const notPastEnd = "(attribute_not_exists(#u) OR #u >= :e)"

// stamp gives an item that others made what it lacks: birth and absolute end.
func stamp(x *expression, base, next *Record) {
	if base.Meta.Born == 0 {
		x.set.append("#b = if_not_exists(#b, :b)")
		x.num(":b", next.Meta.Born)
	}
	switch {
	case base.Meta.Until == next.Meta.Until:
	case base.Meta.Until == 0 && next.Meta.Limit == 0 && next.Meta.Idle == 0:
		x.set.append("#u = if_not_exists(#u, :u)")
		x.num(":u", next.Meta.Until)
	default:
		x.set.append("#u = :u")
		x.num(":u", next.Meta.Until)
	}
}

func (x *expression) attr(name, value, was, is string) {
	switch {
	case was == is:
	case is == "":
		x.remove.append(name)
	default:
		x.set.append(name + " = " + value)
		x.str(value, is)
	}
}

func (x *expression) attrNum(name, value string, was, is int64) {
	switch {
	case was == is:
	case is == 0:
		x.remove.append(name)
	default:
		x.set.append(name + " = " + value)
		x.num(value, is)
	}
}

// touch moves the expiry of base to next's: never past an end that was set meanwhile, and back only
// if the loaded expiry is still there.
func (t *table) touch(ctx context.Context, tr *trace, base, next *Record, now int64) error {
	x := t.touching(base, next, now)
	t.same(x, base, false)
	_, err := t.updateItem(ctx, tr, base.Key, x, "", once)
	return err
}

// once keeps the SDK from repeating a call.
func once(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

func (t *table) touching(base, next *Record, now int64) *expression {
	x := &expression{set: clauses("#e = :e")}
	x.num(":e", next.Expires)
	stamp(x, base, next)
	alive(x, base, now)
	moving(x, base.Expires, next.Expires)
	x.cond.append(notPastEnd)
	return x
}

// condition keeps the write from moving the stored expiry back, where it must not.
func (end Extension) condition(x *expression) {
	switch {
	case !end.Forward:
	case end.Lowers == 0:
		x.cond.append("#e <= :e")
	default:
		x.cond.append("(#e <= :e OR #e = :loaded)")
		x.num(":loaded", end.Lowers)
	}
}

// moving holds while moving the expiry to the one that a write sets is right: forward, or, from one
// that is too far away, back.
func moving(x *expression, loaded, expires int64) {
	if expires >= loaded {
		x.cond.append("#e < :e")
		return
	}
	x.cond.append("#e = :loaded")
	x.num(":loaded", loaded)
}

// acquire takes the lock of a live session and reads it, in one call.
func (t *table) acquire(ctx context.Context, tr *trace, key string, l *lease, now, dead int64) (*Record, error) {
	x := &expression{set: clauses("#l = :end", "#h = :me")}
	x.num(":end", l.end)
	x.str(":me", l.holder)
	alive(x, &Record{}, now)
	x.cond.append("attribute_not_exists(#mv)", "(attribute_not_exists(#l) OR #l BETWEEN :from AND :dead)")
	x.num(":from", leaseFrom)
	x.num(":dead", dead)
	r, err := t.updateItem(ctx, tr, key, x, types.ReturnValueAllNew)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, unavailable("UpdateItem", &wire.Error{What: "has no item"})
	}
	if r, err = own("UpdateItem", key, r); err != nil {
		tr.Unanswered = true
	}
	return r, err
}

// endless is a lock without an end: PHP's, which is 1, and whatever is no number. PHP asks only
// whether a lock is there.
const endless = "attribute_exists(#l) AND NOT #l >= :from"

// bound gives a lock without an end one.
func (t *table) bound(ctx context.Context, tr *trace, key string, end, now int64) error {
	x := &expression{set: clauses("#l = :end", "#h = :me"), cond: clauses(endless)}
	x.num(":end", end)
	x.str(":me", "foreign")
	x.num(":from", leaseFrom)
	alive(x, &Record{}, now)
	_, err := t.updateItem(ctx, tr, key, x, "")
	return err
}

// release gives the lock up. Unless next is nil it also moves the expiry to next's, and is tried once.
func (t *table) release(ctx context.Context, tr *trace, base, next *Record, l *lease, now int64) error {
	x := &expression{}
	var how []func(*dynamodb.Options)
	if next != nil {
		x, how = t.touching(base, next, now), []func(*dynamodb.Options){once}
	}
	x.remove = clauses("#l", "#h")
	leased(x, l)
	_, err := t.updateItem(ctx, tr, base.Key, x, "", how...)
	return err
}

// destroy deletes the item of a session, whoever has locked it: the one that creation made, or, with
// "", whatever is no tombstone. Repeating it is safe. It refuses where a tombstone says that the
// session goes on under another key.
func (t *table) destroy(ctx context.Context, tr *trace, key, creation string) error {
	var x *expression
	switch {
	case t.foreign: // there are no tombstones
	case creation != "":
		x = &expression{cond: clauses("(attribute_not_exists(#i) OR begins_with(#w, :c))")}
		x.str(":c", creation)
	default:
		x = &expression{cond: clauses("attribute_not_exists(#mv)")}
	}
	return t.deleteIf(ctx, tr, key, x, t.capacity())
}

func (t *table) deleteIf(ctx context.Context, tr *trace, key string, x *expression, capacity types.ReturnConsumedCapacity) error {
	in := &dynamodb.DeleteItemInput{
		TableName:              &t.name,
		Key:                    t.key(key),
		ReturnConsumedCapacity: capacity,
	}
	if x != nil {
		text := t.worded(x)
		in.ConditionExpression = &text.cond
		in.ExpressionAttributeNames = text.names
		in.ExpressionAttributeValues = x.values
		in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}
	out, err := t.client.DeleteItem(tr.watch(ctx), in)
	if err != nil {
		return t.refused(tr, "DeleteItem", key, err)
	}
	tr.writeUnits += units(out.ConsumedCapacity)
	return nil
}

// deleteSeen deletes an item that is as the sweep saw it, and whose expiry is past cut. Any
// touch or save moves the expiry, so one comparison covers all writers.
func (t *table) deleteSeen(ctx context.Context, tr *trace, seen *Record, cut int64, unused bool) error {
	x := &expression{cond: clauses("#e = :seen", "#e < :cut")}
	x.num(":seen", seen.Expires)
	x.num(":cut", cut)
	if unused {
		if seen.Rev != 0 {
			x.cond.append("#r = :r")
			x.num(":r", seen.Rev)
		} else {
			x.cond.append("attribute_not_exists(#r)")
		}
	}
	return t.deleteIf(ctx, tr, seen.Key, x, types.ReturnConsumedCapacityTotal)
}

// stub is what PHP leaves of a request that took the lock of a new id and died: an item of a
// key and a lock.
const stub = "attribute_exists(#l) AND attribute_not_exists(#e) AND attribute_not_exists(#d)"

// boundStub gives the lock of a stub an end.
func (t *table) boundStub(ctx context.Context, tr *trace, key string, end int64) error {
	x := &expression{set: clauses("#l = :end"), cond: clauses(endless, stub)}
	x.num(":end", end)
	x.num(":from", leaseFrom)
	_, err := t.updateItem(ctx, tr, key, x, "")
	if err == nil && !t.metered {
		tr.writeUnits++ // a stub is small
	}
	return err
}

// deleteStub deletes a stub that is as the sweep saw it.
func (t *table) deleteStub(ctx context.Context, tr *trace, seen *Record) error {
	x := &expression{cond: clauses("#l = :l", stub)}
	x.num(":l", seen.Lock)
	return t.deleteIf(ctx, tr, seen.Key, x, types.ReturnConsumedCapacityTotal)
}

// deleteOf deletes an item that is user's: the index lags, and somebody else may have
// signed in on that session.
func (t *table) deleteOf(ctx context.Context, tr *trace, key, user string) error {
	x := &expression{cond: clauses("#us = :user")}
	x.str(":user", user)
	return t.deleteIf(ctx, tr, key, x, t.capacity())
}

// living says in DynamoDB's words what rules.live says in Go's.
func living(x *expression, l Rules, now int64) string {
	cond := "attribute_not_exists(#mv) AND #e > :now AND (attribute_not_exists(#u) OR #u > :now)" +
		" AND (attribute_exists(#n) OR attribute_not_exists(#b) OR #b > :oldest)"
	x.num(":now", now)
	x.num(":oldest", now-l.Lifetime)
	if l.NotBefore != 0 {
		cond += " AND #b >= :notbefore"
		x.num(":notbefore", l.NotBefore)
	}
	return cond
}

// overwrite replaces the data of a live session, whoever wrote it. The marks stay, so that
// requests that are running merge. end is the expiry of the item as it was last seen; it starts as
// one that moves forward only.
func (t *table) overwrite(ctx context.Context, tr *trace, r *Record, end Extension, idle int64, l Rules, now int64) error {
	x := &expression{set: clauses("#e = :e"), add: clauses("#r :one")}
	x.num(":e", end.Expires)
	x.num(":one", 1)
	if r.Data != nil {
		x.set.append("#d = :d")
		x.bind(":d", dataValue(r))
	} else {
		x.remove.append("#d")
	}
	x.cond = clauses(living(x, l, now))
	end.condition(x)
	if end.Forward {
		x.cond.append(notPastEnd)
	}
	if idle == 0 { // :e was made with it
		x.cond.append("attribute_not_exists(#n)")
	} else {
		x.cond.append("#n = :n")
		x.num(":n", idle)
	}
	_, err := t.updateItem(ctx, tr, r.Key, x, "")
	return err
}

// replace puts an item where no live session is.
func (t *table) replace(ctx context.Context, tr *trace, r *Record, l Rules, now int64) error {
	x := &expression{}
	x.cond = clauses("(attribute_not_exists(#i) OR NOT (" + living(x, l, now) + "))")
	return t.put(ctx, tr, r, x)
}

// extend is touch for a caller that knows nothing of the item but its expiry, or 0 for not even that.
func (t *table) extend(ctx context.Context, tr *trace, key string, loaded, expires int64, l Rules, now int64) error {
	x := &expression{set: clauses("#e = :e")}
	x.num(":e", expires)
	x.cond = clauses(living(x, l, now))
	moving(x, loaded, expires)
	x.cond.append(notPastEnd)
	_, err := t.updateItem(ctx, tr, key, x, "")
	return err
}

// maxBatch is how many keys a BatchGetItem may have.
const maxBatch = 100

// batch reads the items of up to maxBatch keys, strongly. Absent ones are left out.
func (t *table) batch(ctx context.Context, tr *trace, keys []string) ([]*Record, error) {
	var found []*Record
	strong := true
	request := types.KeysAndAttributes{ConsistentRead: &strong}
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		request.Keys = append(request.Keys, t.key(key))
		asked[key] = true
	}
	for wait := (pause.Backoff{}); len(request.Keys) > 0; {
		out, err := t.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems:           map[string]types.KeysAndAttributes{t.name: request},
			ReturnConsumedCapacity: t.capacity(),
		})
		if err != nil {
			return nil, t.translate("BatchGetItem", err)
		}
		for i := range out.ConsumedCapacity {
			tr.readUnits += units(&out.ConsumedCapacity[i])
		}
		// The answer is keyed by the name or ARN that was asked for.
		for _, items := range out.Responses {
			for _, item := range items {
				r := t.record(item)
				if r == nil || !asked[r.Key] {
					return nil, unavailable("BatchGetItem", &wire.Error{What: "belongs to another request"})
				}
				found = append(found, r)
			}
		}
		request.Keys = nil
		for _, left := range out.UnprocessedKeys {
			request.Keys = left.Keys
		}
		if len(request.Keys) > 0 {
			if err := wait.Wait(ctx); err != nil {
				return nil, unavailable("BatchGetItem", err)
			}
		}
	}
	return found, nil
}

// ofUser returns one page of the keys that the index has for user.
func (t *table) ofUser(ctx context.Context, tr *trace, index, user string, from cursor) (keys []string, next cursor, err error) {
	x := &expression{cond: clauses("#us = :user")}
	x.str(":user", user)
	text := t.worded(x)
	out, err := t.client.Query(ctx, &dynamodb.QueryInput{
		TableName:                 &t.name,
		IndexName:                 &index,
		KeyConditionExpression:    &text.cond,
		ExpressionAttributeNames:  text.names,
		ExpressionAttributeValues: x.values,
		ExclusiveStartKey:         from,
		ReturnConsumedCapacity:    t.capacity(),
	})
	if err != nil {
		return nil, nil, t.translate("Query", err)
	}
	tr.readUnits += units(out.ConsumedCapacity)
	for _, item := range out.Items {
		if r := t.record(item); r != nil {
			keys = append(keys, r.Key)
		}
	}
	return keys, out.LastEvaluatedKey, nil
}

// cursor is where a scan or a query goes on; nil is the start, and at its end.
type cursor map[string]types.AttributeValue

// scan reads one page of the items whose expiry is before cut, and of PHP's stubs.
func (t *table) scan(ctx context.Context, tr *trace, from cursor, segment, segments int, cut int64) (found []*Record, scanned int, next cursor, err error) {
	x := &expression{}
	filter := "#e < :cut"
	if t.foreign {
		filter += " OR " + stub
	}
	x.num(":cut", cut)
	projection := "#i, #e, #r, #u, #n, #b, #a, #l, #mv"
	in := &dynamodb.ScanInput{
		TableName:                 &t.name,
		FilterExpression:          &filter,
		ProjectionExpression:      &projection,
		ExpressionAttributeNames:  t.names(filter, projection),
		ExpressionAttributeValues: x.values,
		ExclusiveStartKey:         from,
		ReturnConsumedCapacity:    types.ReturnConsumedCapacityTotal,
	}
	if segments > 1 {
		in.Segment, in.TotalSegments = aws.Int32(int32(segment)), aws.Int32(int32(segments))
	}
	out, err := t.client.Scan(ctx, in)
	if err != nil {
		return nil, 0, nil, t.translate("Scan", err)
	}
	tr.readUnits += units(out.ConsumedCapacity)
	for _, item := range out.Items {
		if r := t.record(item); r != nil {
			found = append(found, r)
		}
	}
	return found, int(out.ScannedCount), out.LastEvaluatedKey, nil
}

// item makes the whole item of r.
func (t *table) item(r *Record) map[string]types.AttributeValue {
	item := make(map[string]types.AttributeValue, 8)
	item[t.attrs.ID] = &types.AttributeValueMemberS{Value: r.Key}
	item[t.attrs.Expires] = numberValue(r.Expires)
	if r.Data != nil {
		item[t.attrs.Data] = dataValue(r)
	}
	if r.Meta.User != "" {
		item[t.attrs.User] = &types.AttributeValueMemberS{Value: r.Meta.User}
	}
	if r.Marks != "" {
		item[attrMarks] = &types.AttributeValueMemberS{Value: r.Marks}
	}
	if r.Moved != "" {
		item[attrMoved] = &types.AttributeValueMemberS{Value: r.Moved}
	}
	for name, v := range map[string]int64{
		attrRev: r.Rev, attrBorn: r.Meta.Born, attrUntil: r.Meta.Until,
		attrLimit: r.Meta.Limit, attrAuth: r.Meta.Auth, attrIdle: r.Meta.Idle,
	} {
		if v != 0 {
			item[name] = numberValue(v)
		}
	}
	return item
}

func dataValue(r *Record) types.AttributeValue {
	if r.Binary {
		return &types.AttributeValueMemberB{Value: r.Data}
	}
	return &types.AttributeValueMemberS{Value: string(r.Data)}
}

// record reads an item; nil for none. An attribute of another type than ours counts as absent, but for data,
// which then cannot be read, and for lock.
func (t *table) record(item map[string]types.AttributeValue) *Record {
	if len(item) == 0 {
		return nil
	}
	r := new(Record)
	for name, v := range item {
		switch name {
		case t.attrs.ID:
			r.Key = text(v)
		case t.attrs.Expires:
			r.Expires = number(v)
		case t.attrs.Data:
			switch v := v.(type) {
			case *types.AttributeValueMemberS:
				r.Data = []byte(v.Value)
			case *types.AttributeValueMemberB:
				r.Data, r.Binary = v.Value, true
			default:
				r.BadType = true
			}
		case t.attrs.User:
			r.Meta.User = text(v)
		case attrRev:
			r.Rev = number(v)
		case attrMarks:
			r.Marks = text(v)
		case attrLock:
			if r.Lock = number(v); r.Lock < leaseFrom {
				r.Lock = 1 // as PHP writes it, for all locks without an end
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

// number returns an attribute's number, rounded down and kept far from where sums would overflow.
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

// transientCodes are AWS's error codes for "later, perhaps". The SDK has repeated them.
var transientCodes = map[string]bool{
	"ProvisionedThroughputExceededException": true, "ProvisionedThroughputExceeded": true,
	"ThrottlingException": true, "Throttling": true, "ThrottlingError": true, "RequestThrottled": true,
	"RequestLimitExceeded": true, "LimitExceededException": true,
	"InternalServerError": true, "InternalFailure": true, "ServiceUnavailable": true,
	"ServiceUnavailableException": true, "RequestTimeout": true, "RequestTimeoutException": true,
	"TransactionInProgressException": true,
}

// credentialCodes are AWS's error codes for credentials that it refuses (IAM User Guide and DynamoDB API
// Reference, "Common Errors").
var credentialCodes = map[string]bool{
	"AccessDeniedException": true, "AccessDenied": true, "NotAuthorized": true, "OptInRequired": true,
	"ExpiredTokenException": true, "ExpiredToken": true, "RequestExpired": true,
	"UnrecognizedClientException": true, "InvalidClientTokenId": true, "InvalidAccessKeyId": true,
	"MissingAuthenticationToken": true, "MissingAuthenticationTokenException": true,
	"IncompleteSignature": true, "IncompleteSignatureException": true,
	"InvalidSignatureException": true, "SignatureDoesNotMatch": true,
}

// noIdentity is what the SDK says when it has no credentials to sign a call with. The causes have types of
// each provider, and AWS's other services may have answered.
const noIdentity = "get identity: "

// translate gives AWS's errors our names; they stay reachable by errors.As. It takes the
// items out of them, so that no log of an error tells session data.
func (t *table) translate(op string, err error) error {
	if refused := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &refused) {
		item := t.record(refused.Item)
		refused.Item = nil
		return &refusal{item}
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("dynasession: %s: %w", op, err)
	}
	var api smithy.APIError
	if strings.Contains(err.Error(), noIdentity) {
		return fmt.Errorf("%w: %s: %w", ErrCredentials, op, err)
	}
	if !errors.As(err, &api) {
		return unavailable(op, err) // the network, a deadline, an answer that is none
	}
	code, message := api.ErrorCode(), api.ErrorMessage()
	switch {
	case code == "TransactionConflictException", code == "ReplicatedWriteConflictException":
		return errBusy
	case credentialCodes[code]:
		return fmt.Errorf("%w: %s: %w", ErrCredentials, op, err)
	case code == "ResourceNotFoundException":
		return fmt.Errorf("%w: %s: no table (or index) %q in this account and the region %s; Store.CreateTable makes it: %w", ErrTable, op, t.name, t.region, err)
	case code == "ValidationException" && saysBadNumber(message):
		return fmt.Errorf("%w: %s: %w", errUnwritable, op, err)
	case code == "ValidationException" && strings.Contains(message, "tem size"):
		return fmt.Errorf("%w: %s: %w", ErrTooLarge, op, err)
	case code == "ValidationException" && saysOtherKeys(message):
		return fmt.Errorf("%w: %s: table %q does not have the key or index that Config says; Store.Open tells more: %w", ErrTable, op, t.name, err)
	case transientCodes[code], wire.Status(err) >= 500, !wire.IsCode(code):
		return unavailable(op, err)
	}
	return fmt.Errorf("dynasession: %s: %w", op, err)
}

// saysBadNumber reports whether DynamoDB cannot add to a stored number, since it is none or too large:
// rev, which nothing but this package should write.
func saysBadNumber(message string) bool {
	return strings.Contains(message, "operand in the update expression has an incorrect data type") ||
		strings.Contains(message, "Number overflow") || strings.Contains(message, "supports precision up to")
}

// saysOtherKeys tells whether DynamoDB refuses a call because the table has other keys. A read
// is refused in other words than a put.
func saysOtherKeys(message string) bool {
	for _, words := range []string{"schema", "conditions on the keys", "index", "Missing the key", "required keys", "Type mismatch for"} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}

func unavailable(op string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, op, err)
}
