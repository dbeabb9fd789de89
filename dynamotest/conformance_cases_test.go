package dynamotest

import (
	"fmt"
	"maps"
	"strings"
)

func avS(s string) obj     { return obj{"S": s} }
func avN(n any) obj        { return obj{"N": fmt.Sprint(n)} }
func avL(l ...any) obj     { return obj{"L": l} }
func avM(m obj) obj        { return obj{"M": m} }
func avB(b string) obj     { return obj{"B": b} }
func avSS(l ...string) obj { return obj{"SS": l} }

// vals makes ExpressionAttributeValues of names and values in turn.
func vals(pairs ...any) obj {
	out := obj{}
	for i := 0; i < len(pairs); i += 2 {
		out[":"+pairs[i].(string)] = pairs[i+1]
	}
	return out
}

func with(base obj, more ...obj) obj {
	out := obj{}
	maps.Copy(out, base)
	for _, m := range more {
		maps.Copy(out, m)
	}
	return out
}

var (
	stringKey = []any{obj{"AttributeName": "id", "KeyType": "HASH"}}
	userKey   = []any{obj{"AttributeName": "u", "KeyType": "HASH"}}
	defID     = obj{"AttributeName": "id", "AttributeType": "S"}
	defU      = obj{"AttributeName": "u", "AttributeType": "S"}

	plainTable = step{op: "CreateTable", setup: true, in: obj{"AttributeDefinitions": []any{defID}, "KeySchema": stringKey, "BillingMode": "PAY_PER_REQUEST"}}
	indexTable = tableWithIndex(obj{"ProjectionType": "KEYS_ONLY"})
	rangeTable = step{op: "CreateTable", setup: true, in: obj{
		"AttributeDefinitions": []any{obj{"AttributeName": "h", "AttributeType": "S"}, obj{"AttributeName": "r", "AttributeType": "N"}},
		"KeySchema":            []any{obj{"AttributeName": "h", "KeyType": "HASH"}, obj{"AttributeName": "r", "KeyType": "RANGE"}}, "BillingMode": "PAY_PER_REQUEST",
	}}

	fixture = obj{
		"id": avS("a"), "n": avN(1), "s": avS("x"), "l": avL(avN(1), avN(2)), "m": avM(obj{"k": avS("v")}),
		"ss": avSS("a", "b"), "ns": obj{"NS": []string{"1", "2"}}, "bb": avB("AAE="), "t": obj{"BOOL": true}, "z": obj{"NULL": true},
	}
	keyA    = obj{"id": avS("a")}
	getA    = step{op: "GetItem", in: obj{"Key": keyA, "ConsistentRead": true}}
	indexes = obj{"ReturnConsumedCapacity": "INDEXES"}
	allOld  = obj{"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
)

func tableWithIndex(projection obj) step {
	return step{op: "CreateTable", setup: true, in: obj{
		"AttributeDefinitions": []any{defID, defU}, "KeySchema": stringKey, "BillingMode": "PAY_PER_REQUEST",
		"GlobalSecondaryIndexes": []any{obj{"IndexName": "byu", "KeySchema": userKey, "Projection": projection}},
	}}
}

func put(item obj, more ...obj) step {
	return step{op: "PutItem", in: with(obj{"Item": item}, more...)}
}
func get(more ...obj) step { return step{op: "GetItem", in: with(obj{"Key": keyA}, more...)} }
func del(id string, more ...obj) step {
	return step{op: "DeleteItem", in: with(obj{"Key": obj{"id": avS(id)}, "ReturnConsumedCapacity": "TOTAL"}, more...)}
}
func upd(expression string, values obj, more ...obj) step {
	in := with(obj{"Key": keyA, "UpdateExpression": expression}, more...)
	if len(values) > 0 {
		in["ExpressionAttributeValues"] = values
	}
	return step{op: "UpdateItem", in: in}
}
func query(expression string, values obj, more ...obj) step {
	in := with(obj{"KeyConditionExpression": expression}, more...)
	if len(values) > 0 {
		in["ExpressionAttributeValues"] = values
	}
	return step{op: "Query", in: in}
}
func scan(more ...obj) step      { return step{op: "Scan", in: with(obj{}, more...)} }
func raw(op string, in any) step { return step{op: op, in: in} }

// deviates marks a step in which Local is not what the service documents.
func (st step) deviates(why, want string) step {
	st.why, st.want = why, want
	return st
}

const validation = "400 ValidationException: "

func conformanceCases() []conformanceCase {
	var all []conformanceCase
	add := func(name string, steps ...step) { all = append(all, conformanceCase{name, steps}) }
	conditionCases(add)
	updateCases(add)
	itemCases(add)
	readCases(add)
	batchCases(add)
	transactCases(add)
	tableCases(add)
	legacyCases(add)
	protocolCases(add)
	return all
}

type adder func(name string, steps ...step)

// short names a case by its expression.
func short(e string) string {
	if len(e) <= 100 {
		return e
	}
	return fmt.Sprintf("%s… (%d)", e[:20], len(e))
}

func conditionCases(add adder) {
	cond := func(e string, values obj, more ...obj) {
		in := with(obj{"ConditionExpression": e}, more...)
		if len(values) > 0 {
			in["ExpressionAttributeValues"] = values
		}
		add("condition/"+short(e)+text(values), plainTable, put(fixture), put(fixture, in))
	}
	for _, op := range []string{"=", "<>", "<", "<=", ">", ">="} {
		for _, v := range []obj{avN(0), avN("1.0"), avN(2), avS("1")} {
			cond("n "+op+" :a", vals("a", v))
		}
		cond("nope "+op+" :a", vals("a", avN(1)))
		cond("n "+op+" s", nil)
		cond("s "+op+" :a", vals("a", avS("y")))
		cond("bb "+op+" :a", vals("a", avB("AAI=")))
		cond("n "+op+" :a", vals("a", obj{"BOOL": true}))
		cond("ss "+op+" :a", vals("a", avSS("b", "a")))
	}
	cond("t = :a", vals("a", obj{"BOOL": true}))
	cond("z = :a", vals("a", obj{"NULL": true}))
	cond("m = :a", vals("a", avM(obj{"k": avS("v")})))
	cond("l = :a", vals("a", avL(avN(1), avN("2.0"))))
	cond("l <> :a", vals("a", avL(avN(1))))
	cond("nope = nope2", nil)
	cond("nope <> nope2", nil)
	cond("n < :a", vals("a", avN("1.0000000000000000000000000000000000001")))
	cond("n = n", nil)
	cond(":a = :b", vals("a", avN(1), "b", avN("1.00")))
	cond(":a = n", vals("a", avN(1)))

	cond("n BETWEEN :a AND :b", vals("a", avN(1), "b", avN(2)))
	cond("n BETWEEN :a AND :b", vals("a", avN(2), "b", avN(3)))
	cond("n BETWEEN :a AND :b", vals("a", avN(2), "b", avN(1)))
	cond("n BETWEEN :a AND :b", vals("a", avN(2), "b", avS("1")))
	cond("n BETWEEN :a AND :b", vals("a", avS("1"), "b", avS("2")))
	cond("s BETWEEN :a AND :b", vals("a", avS("a"), "b", avS("z")))
	cond("nope BETWEEN :a AND :b", vals("a", avS("a"), "b", avS("z")))
	cond("n BETWEEN n AND :b", vals("b", avN(1)))
	cond("n BETWEEN :b AND :b", vals("b", obj{"BOOL": true}))
	cond("n between :a and :b and n = :a", vals("a", avN(1), "b", avN(2)))
	cond("n IN (:a)", vals("a", avN(1)))
	cond("n IN (:a, :b, s)", vals("a", avN(3), "b", avN(1)))
	cond("n IN (:a, nope)", vals("a", avN(3)))
	cond("n in (:a)", vals("a", obj{"BOOL": true}))
	cond("n IN ()", nil)
	cond("n IN (n)", nil)
	cond("n NOT IN (:a)", vals("a", avN(1)))

	cond("n = :a AND s = :b", vals("a", avN(1), "b", avS("x")))
	cond("n = :a AND s = :b", vals("a", avN(1), "b", avS("y")))
	cond("n = :a OR s = :b", vals("a", avN(9), "b", avS("x")))
	cond("n = :a OR s = :b AND t = :b", vals("a", avN(1), "b", avS("x")))
	cond("(n = :a OR s = :b) AND t = :b", vals("a", avN(1), "b", avS("x")))
	cond("NOT n = :a", vals("a", avN(1)))
	cond("NOT nope = :a", vals("a", avN(1)))
	cond("NOT (NOT n = :a)", vals("a", avN(1)))
	cond("NOT NOT n = :a", vals("a", avN(1)))
	cond("not n = :a or n = :a", vals("a", avN(1)))
	cond("NOT n = :a AND s = :b", vals("a", avN(2), "b", avS("x")))
	cond("(n = :a)", vals("a", avN(1)))
	cond("(n) = (:a)", vals("a", avN(1)))
	cond("((n = :a))", vals("a", avN(1)))
	cond("((n)) = :a", vals("a", avN(1)))
	cond("((n = :a) AND (s = :b)) OR t = :c", vals("a", avN(1), "b", avS("x"), "c", avN(1)))
	cond("n = :a\n AND\ts = :b", vals("a", avN(1), "b", avS("x")))

	for _, f := range []string{"attribute_exists", "attribute_not_exists"} {
		cond(f+"(id)", nil)
		cond(f+"(nope)", nil)
		cond(f+" ( m.k )", nil)
		cond(f+"(m.nope)", nil)
		cond(f+"(l[1])", nil)
		cond(f+"(l[2])", nil)
		cond(f+"(l[0][0])", nil)
		cond(f+"(n.k)", nil)
		cond(f+"(:x)", vals("x", avN(1)))
		cond(f+"(n, s)", nil)
	}
	for _, kind := range []string{"S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"} {
		cond("attribute_type(n, :x)", vals("x", avS(kind)))
	}
	cond("attribute_type(ns, :x)", vals("x", avS("NS")))
	cond("attribute_type(nope, :x)", vals("x", avS("NS")))
	cond("attribute_type(n, :x)", vals("x", avN(1)))
	cond("attribute_type(n)", nil)
	cond("begins_with(s, :a)", vals("a", avS("x")))
	cond("begins_with(s, :a)", vals("a", avS("")))
	cond("begins_with(s, :a)", vals("a", avS("xx")))
	cond("begins_with(bb, :a)", vals("a", avB("AA==")))
	cond("begins_with(s, :a)", vals("a", avB("AA==")))
	cond("begins_with(n, :a)", vals("a", avS("1")))
	cond("begins_with(n, :a)", vals("a", avN("1")))
	cond("begins_with(nope, :a)", vals("a", avS("")))
	cond("begins_with(s, s)", nil)
	cond("begins_with(s, n)", nil)
	cond("begins_with(:a, s)", vals("a", avS("xyz")))
	cond("contains(s, :a)", vals("a", avS("x")))
	cond("contains(s, :a)", vals("a", avS("")))
	cond("contains(s, :a)", vals("a", avN(1)))
	cond("contains(ss, :a)", vals("a", avS("b")))
	cond("contains(ss, :a)", vals("a", avS("c")))
	cond("contains(ns, :a)", vals("a", avN("1.0")))
	cond("contains(l, :a)", vals("a", avN(2)))
	cond("contains(m, :a)", vals("a", avS("k")))
	cond("contains(bb, :a)", vals("a", avB("AQ==")))
	cond("contains(nope, :a)", vals("a", avS("")))
	cond("contains(:a, s)", vals("a", avS("zxz")))
	cond("contains(s, s)", nil)
	cond("contains(s)", nil)
	cond("contains(size(n), :a)", vals("a", avN(1)))
	cond("size(s) = :a AND size(bb) = :b AND size(l) = :b AND size(m) = :a AND size(ss) = :b", vals("a", avN(1), "b", avN(2)))
	cond("size(n) > :a", vals("a", avN(-1)))
	cond("size(nope) > :a", vals("a", avN(-1)))
	cond("size(t) = :a", vals("a", avN(1)))
	cond("size(:a) = :b", vals("a", avS("é"), "b", avN(2)))
	cond("size(:a) = :b", vals("a", avN(1), "b", avN(1)))
	cond("size(s) = size(m)", nil)
	cond("size(n)", nil)
	cond("size(size(n)) = :a", vals("a", avN(1)))
	cond("attribute_exists(size(n))", nil)
	cond("attribute_exists(attribute_exists(n))", nil)
	cond("attribute_exists(n) = :a", vals("a", avN(1)))
	cond("n = attribute_exists(n)", nil)
	cond("foo(n)", nil)
	cond("ATTRIBUTE_EXISTS(id)", nil)
	cond("if_not_exists(n, :a) = :a", vals("a", avN(1)))
	cond("list_append(n, :a)", vals("a", avN(1)))

	cond("#n = :a", vals("a", avN(1)), obj{"ExpressionAttributeNames": obj{"#n": "n"}})
	cond("#m.#k = :a", vals("a", avS("v")), obj{"ExpressionAttributeNames": obj{"#m": "m", "#k": "k"}})
	cond("#mk = :a", vals("a", avS("v")), obj{"ExpressionAttributeNames": obj{"#mk": "m.k"}})
	cond("#no = :a", vals("a", avN(1)))
	cond("n = :a OR #q = :a", vals("a", avN(1)), obj{"ExpressionAttributeNames": obj{"#r": "r"}})
	cond("n = :a ", vals("a", avN(1)), obj{"ExpressionAttributeNames": obj{"#n": "n", "#q": "q"}})
	cond("n  = :a", vals("a", avN(1), "b", avN(2), "c", avN(2)))
	cond("n = :b", vals("a", avN(1)))
	cond("n = :nope", nil)
	cond("n = :empty", nil, obj{"ExpressionAttributeValues": obj{}})
	cond("attribute_exists(n) ", nil, obj{"ExpressionAttributeNames": obj{}})
	cond("n = :wrong", nil, obj{"ExpressionAttributeValues": obj{"wrong": avN(1)}})
	cond("n = :wrong ", nil, obj{"ExpressionAttributeValues": obj{":a!": avN(1)}})
	cond("#n = :wrong", vals("wrong", avN(1)), obj{"ExpressionAttributeNames": obj{"n": "n"}})
	cond("#n = :wrong ", vals("wrong", avN(1)), obj{"ExpressionAttributeNames": obj{"#n": ""}})
	cond("n = :badnumber", vals("badnumber", avN("x")))
	cond("n = :badset", vals("badset", avSS("a", "a")))
	cond("", nil)
	cond(" ", nil)
	cond("n = :a"+strings.Repeat(" ", 4100), vals("a", avN(1)))
	cond("n IN (:a"+strings.Repeat(",:a", 100)+")", vals("a", avN(1)))
	cond("n = :a"+strings.Repeat(" AND n = :a", 150), vals("a", avN(1)))
	cond("n = :a "+strings.Repeat("AND n = :a ", 149), vals("a", avN(1)))
	for _, word := range []string{"name", "data", "user", "ttl", "lock", "Status", "m.name"} {
		cond(word+" = :a", vals("a", avN(1)))
	}
	for _, e := range []string{
		"n = ", "n == :a", "(n = :a", "n", "n = :a)", "n = 1", "n = :a AND", "n = :a and and n = :a", "AND", "NOT", "n @ :a", "n = :a @",
		"n = 1a", "_x = :a", "n = :a;", "$n = :a", "n.0 = :a", "n-1 = :a", "# = :a", "n = :", "\"n\" = :a", "l[] = :a", "l[-1] = :a",
		"l[99999999999] = :a", "set = :a", "attribute_exists", "attribute_exists()", "attribute_exists(n", "n + :a = :a", "n = :a :a", "é = :a", "n = 'x'",
		"n BETWEEN :a", "n BETWEEN :a AND", "n IN :a", "n IN (:a", "n..k = :a", ".n = :a", "n = :a OR", "() = :a", "contains(s, )", "a AND b",
	} {
		cond(e, vals("a", avN(1)))
	}
}
