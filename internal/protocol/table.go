package protocol

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/wire"
)

// A Table makes DynamoDB's calls about items. It is safe for concurrent use.
type Table struct {
	client  *dynamodb.Client
	name    string
	columns Columns
	names   map[string]string // by placeholder
	metered bool
}

// NewTable returns the table of that name. metered asks DynamoDB for the capacity units of each call.
func NewTable(client *dynamodb.Client, name string, columns Columns, metered bool) *Table {
	return &Table{client: wire.Client(client), name: name, columns: columns, names: columns.placeholders(), metered: metered}
}

// Client returns the client that the table uses.
func (t *Table) Client() *dynamodb.Client { return t.client }

// Stats are what calls have cost and met.
type Stats struct {
	ReadUnits, WriteUnits float64 // 0 for calls that were not metered
	Unanswered            bool    // an attempt of the last write may have taken effect, and nobody said
}

// An Outcome is DynamoDB's answer to a Write.
type Outcome struct {
	Refused bool // a condition did not hold, and nothing was done
	// Item is the item whose condition did not hold, or nil for none. If the write was not refused, it is the item
	// that [Acquire] has read, or the one with a Rev that [Rules.Save] has asked for.
	Item *Record

	Busy      bool // a transaction on the item was in the way, and nothing was done
	Throttled bool // a transaction was throttled, and nothing was done

	Parts []Outcome // of a transaction that was refused, in its order
}

// Done reports whether the write has taken effect.
func (o *Outcome) Done() bool { return !o.Refused && !o.Busy && !o.Throttled }

// Send makes a write. An Outcome that is not done is no error; an error is an [*Error].
func (t *Table) Send(ctx context.Context, stats *Stats, w Write) (out Outcome, err error) {
	var call wire.Call
	var cost *types.ConsumedCapacity
	watched := wire.Watch(ctx, &call)
	switch w.op {
	case opPut:
		cost, err = t.put(watched, &w)
	case opUpdate:
		out, cost, err = t.update(watched, &w)
	case opDelete:
		cost, err = t.delete(watched, &w)
	case opTransact:
		out, err = t.transact(watched, stats, &w)
	}
	stats.Unanswered = call.Unanswered
	var refused *types.ConditionalCheckFailedException
	switch {
	case err == nil:
		stats.WriteUnits += units(cost)
		return out, nil
	case errors.As(err, &refused):
		out.Item, err = t.own(w.op, w.key, refused.Item)
		out.Refused = err == nil
	case isConflict(err):
		return Outcome{Busy: true}, nil
	}
	if foreign := (*foreignError)(nil); errors.As(err, &foreign) {
		stats.Unanswered = true // the write may be done
	}
	return out, t.explain(string(w.op), err)
}

const allOld = types.ReturnValuesOnConditionCheckFailureAllOld

func (t *Table) put(ctx context.Context, w *Write) (*types.ConsumedCapacity, error) {
	condition := w.condition()
	out, err := t.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                           &t.name,
		Item:                                t.columns.item(w.item),
		ConditionExpression:                 textOrNil(condition),
		ExpressionAttributeNames:            t.namesIn(condition),
		ExpressionAttributeValues:           w.values,
		ReturnConsumedCapacity:              t.capacity(w.billed),
		ReturnValuesOnConditionCheckFailure: allOld,
	})
	if err != nil {
		return nil, err
	}
	return out.ConsumedCapacity, nil
}

func (t *Table) update(ctx context.Context, w *Write) (Outcome, *types.ConsumedCapacity, error) {
	expression, condition := w.expression(), w.condition()
	out, err := t.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                           &t.name,
		Key:                                 t.key(w.key),
		UpdateExpression:                    textOrNil(expression),
		ConditionExpression:                 textOrNil(condition),
		ExpressionAttributeNames:            t.namesIn(expression, condition),
		ExpressionAttributeValues:           w.values,
		ReturnConsumedCapacity:              t.capacity(w.billed),
		ReturnValues:                        w.returns,
		ReturnValuesOnConditionCheckFailure: allOld,
	}, func(o *dynamodb.Options) {
		if w.once {
			o.Retryer = aws.NopRetryer{}
		}
	})
	if err != nil {
		return Outcome{}, nil, err
	}
	if w.returns != types.ReturnValueAllNew {
		return Outcome{Item: t.columns.Record(out.Attributes)}, out.ConsumedCapacity, nil
	}
	if len(out.Attributes) == 0 {
		return Outcome{}, nil, &foreignError{"has no item"}
	}
	item, err := t.own(w.op, w.key, out.Attributes)
	return Outcome{Item: item}, out.ConsumedCapacity, err
}

func (t *Table) delete(ctx context.Context, w *Write) (*types.ConsumedCapacity, error) {
	condition := w.condition()
	in := &dynamodb.DeleteItemInput{
		TableName:                 &t.name,
		Key:                       t.key(w.key),
		ConditionExpression:       textOrNil(condition),
		ExpressionAttributeNames:  t.namesIn(condition),
		ExpressionAttributeValues: w.values,
		ReturnConsumedCapacity:    t.capacity(w.billed),
	}
	if len(w.conditions) > 0 {
		in.ReturnValuesOnConditionCheckFailure = allOld
	}
	out, err := t.client.DeleteItem(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.ConsumedCapacity, nil
}

// transact does all parts of a write, or none.
func (t *Table) transact(ctx context.Context, stats *Stats, w *Write) (Outcome, error) {
	in := &dynamodb.TransactWriteItemsInput{ClientRequestToken: &w.token, ReturnConsumedCapacity: t.capacity(false)}
	for i := range w.parts {
		in.TransactItems = append(in.TransactItems, t.part(&w.parts[i]))
	}
	out, err := t.client.TransactWriteItems(ctx, in)
	if cancelled := (*types.TransactionCanceledException)(nil); errors.As(err, &cancelled) {
		return t.cancelled(w, cancelled, err)
	}
	if err != nil {
		return Outcome{}, t.explain(string(opTransact), err)
	}
	for i := range out.ConsumedCapacity {
		stats.WriteUnits += units(&out.ConsumedCapacity[i])
	}
	return Outcome{}, nil
}

func (t *Table) part(w *Write) types.TransactWriteItem {
	expression, condition := textOrNil(w.expression()), textOrNil(w.condition())
	names := t.namesIn(w.expression(), w.condition())
	switch w.op {
	case opPut:
		return types.TransactWriteItem{Put: &types.Put{
			TableName: &t.name, Item: t.columns.item(w.item),
			ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: w.values,
			ReturnValuesOnConditionCheckFailure: allOld,
		}}
	case opUpdate:
		return types.TransactWriteItem{Update: &types.Update{
			TableName: &t.name, Key: t.key(w.key), UpdateExpression: expression,
			ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: w.values,
			ReturnValuesOnConditionCheckFailure: allOld,
		}}
	default:
		return types.TransactWriteItem{Delete: &types.Delete{
			TableName: &t.name, Key: t.key(w.key),
			ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: w.values,
			ReturnValuesOnConditionCheckFailure: allOld,
		}}
	}
}

// cancelled returns what the reasons of a cancellation mean. A condition that did not hold counts more than what may pass.
func (t *Table) cancelled(w *Write, c *types.TransactionCanceledException, err error) (Outcome, error) {
	reasons := c.CancellationReasons
	c.CancellationReasons = nil // they hold items, and the error may be logged
	if len(reasons) != len(w.parts) {
		return Outcome{}, t.explain(string(opTransact), err)
	}
	out := Outcome{Parts: make([]Outcome, len(reasons))}
	transient := false
	for i, reason := range reasons {
		switch code := aws.ToString(reason.Code); code {
		case "ConditionalCheckFailed":
			item, err := t.own(opTransact, w.parts[i].key, reason.Item)
			if err != nil {
				return Outcome{}, err
			}
			out.Parts[i], out.Refused = Outcome{Refused: true, Item: item}, true
		case "TransactionConflict":
			out.Busy = !out.Throttled
		case "ThrottlingError", "ProvisionedThroughputExceeded":
			out.Throttled = !out.Busy
		default:
			transient = transient || transientCodes[code]
		}
	}
	switch {
	case out.Refused:
		out.Busy, out.Throttled = false, false
		return out, nil
	case out.Busy || out.Throttled:
		return Outcome{Busy: out.Busy, Throttled: out.Throttled}, nil
	case transient:
		return Outcome{}, &Error{Kind: Unavailable, Op: string(opTransact), Err: err}
	}
	return Outcome{}, t.explain(string(opTransact), err)
}

// foreignError is an answer that does not belong to the call. A broken proxy or connection may answer with what another
// request has asked for: another user's session.
type foreignError struct{ what string }

func (e *foreignError) Error() string { return "the answer " + e.what }

// own returns the item of an answer if it is key's, or nil for no item.
func (t *Table) own(op operation, key string, item map[string]types.AttributeValue) (*Record, error) {
	r := t.columns.Record(item)
	if r != nil && r.Key != key {
		return nil, &Error{Kind: Unavailable, Op: string(op), Err: &foreignError{"belongs to another request"}}
	}
	return r, nil
}

func (t *Table) key(key string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{t.columns.ID: textValue(key)}
}

// namesIn returns the placeholders that the expressions have: DynamoDB refuses others.
func (t *Table) namesIn(expressions ...string) map[string]string {
	var names map[string]string
	for _, x := range expressions {
		for i := strings.IndexByte(x, '#'); i >= 0; i = strings.IndexByte(x, '#') {
			end := i + 1
			for end < len(x) && x[end] >= 'a' && x[end] <= 'z' {
				end++
			}
			if names == nil {
				names = make(map[string]string, 8)
			}
			names[x[i:end]] = t.names[x[i:end]]
			x = x[end:]
		}
	}
	return names
}

func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (t *Table) capacity(billed bool) types.ReturnConsumedCapacity {
	if t.metered || billed {
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

// Get reads an item; nil for none.
func (t *Table) Get(ctx context.Context, stats *Stats, key string, consistent bool) (*Record, error) {
	out, err := t.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.name, Key: t.key(key), ConsistentRead: &consistent, ReturnConsumedCapacity: t.capacity(false),
	})
	if err != nil {
		return nil, t.explain("GetItem", err)
	}
	stats.ReadUnits += units(out.ConsumedCapacity)
	return t.own("GetItem", key, out.Item)
}

// MaxBatch is how many keys a Batch may have.
const MaxBatch = 100

// Batch reads the items of up to MaxBatch keys, consistently. It leaves out those that are absent.
func (t *Table) Batch(ctx context.Context, stats *Stats, keys []string) ([]*Record, error) {
	const op = "BatchGetItem"
	var found []*Record
	request := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		request.Keys = append(request.Keys, t.key(key))
		asked[key] = true
	}
	for wait := (pause.Backoff{}); len(request.Keys) > 0; {
		out, err := t.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems:           map[string]types.KeysAndAttributes{t.name: request},
			ReturnConsumedCapacity: t.capacity(false),
		})
		if err != nil {
			return nil, t.explain(op, err)
		}
		for i := range out.ConsumedCapacity {
			stats.ReadUnits += units(&out.ConsumedCapacity[i])
		}
		// The answer is keyed by the name or ARN that was asked for.
		for _, items := range out.Responses {
			for _, item := range items {
				r := t.columns.Record(item)
				if r == nil || !asked[r.Key] {
					return nil, &Error{Kind: Unavailable, Op: op, Err: &foreignError{"belongs to another request"}}
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
				return nil, &Error{Kind: Unavailable, Op: op, Err: err}
			}
		}
	}
	return found, nil
}

// A Cursor is where a scan or a query goes on. Nil is its start, and its end.
type Cursor map[string]types.AttributeValue

// OfUser returns one page of the keys that the index has for user.
func (t *Table) OfUser(ctx context.Context, stats *Stats, index, user string, from Cursor) (keys []string, next Cursor, err error) {
	const condition = "#us = :user"
	out, err := t.client.Query(ctx, &dynamodb.QueryInput{
		TableName:                 &t.name,
		IndexName:                 &index,
		KeyConditionExpression:    aws.String(condition),
		ExpressionAttributeNames:  t.namesIn(condition),
		ExpressionAttributeValues: map[string]types.AttributeValue{":user": textValue(user)},
		ExclusiveStartKey:         from,
		ReturnConsumedCapacity:    t.capacity(false),
	})
	if err != nil {
		return nil, nil, t.explain("Query", err)
	}
	stats.ReadUnits += units(out.ConsumedCapacity)
	for _, item := range out.Items {
		if r := t.columns.Record(item); r != nil {
			keys = append(keys, r.Key)
		}
	}
	return keys, out.LastEvaluatedKey, nil
}

// A Page is a part of a scan.
type Page struct {
	Found   []*Record // of Scan without their data, marks and user
	Scanned int       // items that DynamoDB has read for it
	Next    Cursor
}

// Scan reads one page of the items whose expiry is before cut, and, with stubs, of what PHP leaves that locks a new id and
// dies. The items come without data unless whole is true; both cost the same.
func (t *Table) Scan(ctx context.Context, stats *Stats, from Cursor, segment, segments int, cut int64, stubs, whole bool) (Page, error) {
	const projection = "#i, #e, #r, #u, #n, #b, #a, #l, #mv"
	filter := "#e < :cut"
	if stubs {
		filter += " OR " + stub
	}
	in := &dynamodb.ScanInput{
		FilterExpression:          &filter,
		ExpressionAttributeNames:  t.namesIn(filter),
		ExpressionAttributeValues: map[string]types.AttributeValue{":cut": numberValue(cut)},
		ExclusiveStartKey:         from,
	}
	if !whole {
		in.ProjectionExpression, in.ExpressionAttributeNames = aws.String(projection), t.namesIn(filter, projection)
	}
	if segments > 1 {
		in.Segment, in.TotalSegments = aws.Int32(int32(segment)), aws.Int32(int32(segments))
	}
	return t.scan(ctx, stats, in)
}

// ScanLive reads a page of the table and returns the items that have not expired at now, whole.
func (t *Table) ScanLive(ctx context.Context, stats *Stats, from Cursor, now int64) (Page, error) {
	const filter = unexpired
	return t.scan(ctx, stats, &dynamodb.ScanInput{
		FilterExpression:          aws.String(filter),
		ExpressionAttributeNames:  t.namesIn(filter),
		ExpressionAttributeValues: map[string]types.AttributeValue{":now": numberValue(now)},
		ExclusiveStartKey:         from,
	})
}

func (t *Table) scan(ctx context.Context, stats *Stats, in *dynamodb.ScanInput) (Page, error) {
	in.TableName, in.ReturnConsumedCapacity = &t.name, types.ReturnConsumedCapacityTotal
	out, err := t.client.Scan(ctx, in)
	if err != nil {
		return Page{}, t.explain("Scan", err)
	}
	stats.ReadUnits += units(out.ConsumedCapacity)
	page := Page{Scanned: int(out.ScannedCount), Next: out.LastEvaluatedKey}
	for _, item := range out.Items {
		if r := t.columns.Record(item); r != nil {
			page.Found = append(page.Found, r)
		}
	}
	return page, nil
}
