package dynamotest

import "strings"

func updateCases(add adder) {
	update := func(e string, values obj, more ...obj) {
		add("update/"+short(e)+short(text(values))+text(more), plainTable, put(fixture), upd(e, values, more...), getA)
	}
	updatedNew, updatedOld := obj{"ReturnValues": "UPDATED_NEW"}, obj{"ReturnValues": "UPDATED_OLD"}
	update("SET n = :x", vals("x", avN(5)))
	update("SET n = :x", vals("x", avN(5)), updatedNew)
	update("SET n = :x", vals("x", avN(5)), updatedOld)
	update("SET n = :x", vals("x", avN(5)), obj{"ReturnValues": "ALL_NEW"})
	update("SET n = :x", vals("x", avN(5)), obj{"ReturnValues": "ALL_OLD"})
	update("SET n = :x", vals("x", avN(5)), obj{"ReturnValues": "NONE"})
	update("SET n = :x", vals("x", avN(5)), obj{"ReturnValues": "FOO"})
	update("SET n = :x, q = :x", vals("x", avN(5)), updatedOld)
	update("SET n = :x REMOVE s", vals("x", avN(5)), updatedNew)
	update("REMOVE s, nope SET n = :x", vals("x", avN(5)), updatedOld)
	update("set a = :x add b :x remove s delete ss :y", vals("x", avN(1), "y", avSS("a")), obj{"ReturnValues": "ALL_NEW"})
	update("SET n = n + :x", vals("x", avN(5)))
	update("SET n = n - :x", vals("x", avN("0.5")))
	update("SET n = :x - n", vals("x", avN("0.1")))
	update("SET n = (n + :x)", vals("x", avN(5)))
	update("SET n = (n) + (:x)", vals("x", avN(5)))
	update("SET n = ((n + :x))", vals("x", avN(5)))
	update("SET n = n + :x + :x", vals("x", avN(5)))
	update("SET n = n + :x", vals("x", avS("a")))
	update("SET n = s + :x", vals("x", avN(1)))
	update("SET n = nope + :x", vals("x", avN(1)))
	update("SET n = nope", nil)
	update("SET q = n, n = :x", vals("x", avN(9)))
	update("SET q = :x, q2 = q", vals("x", avN(9)))
	update("SET s = n, n = s", nil)
	update("SET q = if_not_exists(q, :x), n = if_not_exists(n, :x)", vals("x", avN(9)))
	update("SET q = if_not_exists(q, :x) + :x", vals("x", avN(9)))
	update("SET q = if_not_exists(q, if_not_exists(q2, :x))", vals("x", avN(9)))
	update("SET q = if_not_exists(:x, :x)", vals("x", avN(9)))
	update("SET q = if_not_exists(n)", nil)
	update("SET q = if_not_exists(n, s, t)", nil)
	update("SET l = list_append(l, :x)", vals("x", avL(avN(3))))
	update("SET l = list_append(:x, l)", vals("x", avL(avN(3))))
	update("SET l = list_append(l, :x)", vals("x", avN(3)))
	update("SET l = list_append(s, l)", nil)
	update("SET l = list_append(l)", nil)
	update("SET l[0] = :x", vals("x", avN(9)))
	update("SET l[7] = :x, l[9] = :y", vals("x", avN(7), "y", avN(9)))
	update("SET l[9] = :y, l[7] = :x", vals("x", avN(7), "y", avN(9)))
	update("REMOVE l[0]", nil)
	update("REMOVE l[0], l[1]", nil)
	update("REMOVE l[5]", nil)
	update("SET m.k = :x, m.j = :x", vals("x", avN(9)))
	update("SET m.k = :x REMOVE m.j", vals("x", avN(9)))
	update("REMOVE m.k", nil)
	update("REMOVE zz.a", nil)
	update("SET zz.a = :x", vals("x", avN(9)))
	update("SET s.a = :x", vals("x", avN(9)))
	update("SET s[0] = :x", vals("x", avN(9)))
	update("REMOVE s.a", nil)
	update("ADD n :x", vals("x", avN(5)), updatedNew)
	update("ADD n :x", vals("x", avN("-1.25")))
	update("ADD q :x", vals("x", avN(5)))
	update("ADD s :x", vals("x", avN(5)))
	update("ADD n :x", vals("x", avS("a")))
	update("ADD n :x", vals("x", avL()))
	update("ADD n :x", vals("x", avSS("a")))
	update("ADD ss :x", vals("x", avSS("c", "a")))
	update("ADD ns :x", vals("x", obj{"NS": []string{"1", "10"}}))
	update("ADD q :x", vals("x", avSS("c", "a")))
	update("ADD m.c :x", vals("x", avN(5)))
	update("ADD n 5", nil)
	update("ADD n s", nil)
	update("DELETE ss :x", vals("x", avSS("a", "z")))
	update("DELETE ss :x", vals("x", avSS("a", "b")), updatedNew)
	update("DELETE nope :x", vals("x", avSS("a", "b")))
	update("DELETE n :x", vals("x", avN(1)))
	update("DELETE n :x", vals("x", obj{"NS": []string{"1"}}))
	update("SET id = :x", vals("x", avS("b")))
	update("SET id.x = :x", vals("x", avS("b")))
	update("REMOVE id", nil)
	update("ADD id :x", vals("x", avN(1)))
	update("SET n = :x, n = :x", vals("x", avN(1)))
	update("SET n = :x REMOVE n", vals("x", avN(1)))
	update("SET n = :x ADD n :x", vals("x", avN(1)))
	update("SET m.k = :x, m = :x", vals("x", avN(1)))
	update("SET m = :x, m.k = :x", vals("x", avN(1)))
	update("SET a.b.c = :x, a.b = :x", vals("x", avN(1)))
	update("SET l[0] = :x, l.a = :x", vals("x", avN(1)))
	update("SET l[0] = :x, l[0] = :x", vals("x", avN(1)))
	update("SET #a = :x, #b = :x", vals("x", avN(1)), obj{"ExpressionAttributeNames": obj{"#a": "n", "#b": "n"}})
	update("SET #a = :x", vals("x", avN(1)))
	update("SET #a = :x, #b = :x", vals("x", avN(1)), obj{"ExpressionAttributeNames": obj{"#a": "n", "#b": "q", "#c": "c"}})
	update("SET n = :x", nil)
	update("SET n = :x", vals("x", avN(1), "y", avN(1)))
	update("SET n = :x SET s = :x", vals("x", avN(1)))
	update("SET name = :x", vals("x", avN(1)))
	update("SET q = name", nil)
	update("SET n = foo(:x)", vals("x", avN(1)))
	update("SET n = size(s)", nil)
	update("SET n = attribute_exists(s)", nil)
	update("SET if_not_exists(a, :x) = :x", vals("x", avN(1)))
	for _, e := range []string{
		"SET", "SET n", "SET n =", "FOO n = :x", "SET n = :x,", "REMOVE", "SET n = :x REMOVE", "SET n = :x n2 = :x", "REMOVE n,", "SET :x = :x", "SET n = -:x",
		"SET n = :x * :x", "SET set = :x", "SET n = :x, REMOVE s", "n = :x", "SET n := :x", "ADD n", "DELETE ss", "SET n = (:x", "SET n = if_not_exists(n, :x",
	} {
		update(e, vals("x", avN(1)))
	}
	update("", nil)
	update(" ", nil)
	update("SET n = :x"+strings.Repeat(" ", 4100), vals("x", avN(1)))
	for _, n := range []string{"38", "1000", "-5", "100000000000000000001", "0.5", "0", "12345678901234567890123456789012345678"} {
		update("SET n = :x + n", vals("x", avN(n)))
	}
	update("SET n = n + :x", vals("x", avN("1e-40")))
	update("ADD n :x", vals("x", avN("9.9e125")))
	update("SET x = :x", vals("x", avS(strings.Repeat("y", 400<<10))))
	update("SET x = :x", vals("x", avM(obj{"": avN(1)})))

	add("update/absent item", plainTable, upd("SET n = :x", vals("x", avN(1)), indexes, obj{"ReturnValues": "ALL_OLD"}), getA)
	add("update/absent item, ALL_NEW", plainTable, upd("SET n = :x", vals("x", avN(1)), obj{"ReturnValues": "ALL_NEW"}), getA)
	add("update/absent item, only REMOVE", plainTable, upd("REMOVE n", nil, obj{"ReturnValues": "ALL_NEW"}), getA)
	add("update/absent item, only key", plainTable, raw("UpdateItem", obj{"Key": keyA}), getA)
	add("update/condition", plainTable, put(fixture),
		upd("SET n = :x", vals("x", avN(1)), obj{"ConditionExpression": "attribute_not_exists(id)"}, allOld),
		upd("SET n = :x", vals("x", avN(1)), obj{"ConditionExpression": "attribute_not_exists(id)"}),
		upd("SET n = :x", vals("x", avN(7)), obj{"ConditionExpression": "n = :y", "ExpressionAttributeValues": vals("x", avN(7), "y", avN(1))}), getA)
	add("update/condition, absent", plainTable,
		upd("SET n = :x", vals("x", avN(1)), obj{"ConditionExpression": "attribute_exists(id)"}, allOld), getA)
	add("update/wrong ReturnValuesOnConditionCheckFailure", plainTable, upd("SET n = :x", vals("x", avN(1)), obj{"ReturnValuesOnConditionCheckFailure": "FOO"}))
	add("update/keys", plainTable,
		raw("UpdateItem", obj{"Key": obj{"id": avN(1)}}), raw("UpdateItem", obj{"Key": obj{"x": avS("1")}}),
		raw("UpdateItem", obj{"Key": obj{"id": avS("a"), "x": avS("b")}}), raw("UpdateItem", obj{}), raw("UpdateItem", obj{"Key": obj{}}),
		raw("UpdateItem", obj{"Key": obj{"id": avS("")}}), raw("UpdateItem", obj{"Key": obj{"id": avS(strings.Repeat("k", 2049))}}))
	add("update/index key", indexTable, put(obj{"id": avS("a"), "u": avS("al")}),
		upd("SET u = :x", vals("x", avS(""))),
		upd("SET u = :x", vals("x", avN(1))).deviates("Local takes an index key of the wrong type here, while its PutItem refuses it as the service does",
			validation+"One or more parameter values were invalid: Type mismatch for Index Key"),
		upd("SET u = :x", vals("x", avS("bo")), indexes), upd("SET x = :x", vals("x", avS("bo")), indexes), upd("REMOVE u", nil, indexes))
}

func itemCases(add adder) {
	sized := func(n int) obj { return obj{"id": avS("a"), "pad": avS(strings.Repeat("y", n))} }
	add("put/new", plainTable, put(fixture, indexes, obj{"ReturnValues": "ALL_OLD"}), getA)
	add("put/over old", plainTable, put(fixture), put(keyA, indexes, obj{"ReturnValues": "ALL_OLD"}), getA)
	add("put/units", plainTable, put(sized(1016), indexes), put(sized(1017), indexes), put(sized(1016), indexes), put(sized(1016), indexes), put(sized(3000), obj{"ReturnConsumedCapacity": "TOTAL"}), put(keyA, indexes, obj{"ReturnConsumedCapacity": "NONE"}))
	add("put/too big", plainTable, put(sized(400<<10-6)), put(sized(400<<10-5)))
	add("put/return values", plainTable, put(keyA, obj{"ReturnValues": "ALL_NEW"}), put(keyA, obj{"ReturnValues": "UPDATED_OLD"}), put(keyA, obj{"ReturnValues": "FOO"}), put(keyA, obj{"ReturnValues": "NONE"}))
	add("put/keys", plainTable, put(obj{}), put(obj{"x": avN(1)}), put(obj{"id": avN(1)}), put(obj{"id": avS("")}), put(obj{"id": avB("AA==")}),
		put(obj{"id": avS(strings.Repeat("k", 2048))}), put(obj{"id": avS(strings.Repeat("k", 2049))}), raw("PutItem", obj{}))
	for name, v := range map[string]obj{
		"empty": {}, "two types": {"S": "a", "N": "1"}, "unknown type": {"X": "1"}, "NULL false": {"NULL": false}, "empty SS": avSS(), "double SS": avSS("a", "a"),
		"double NS": {"NS": []string{"1", "1.0"}}, "double BS": {"BS": []string{"AA==", "AA=="}}, "SS of empty string": avSS(""), "word": avN("x"), "empty number": avN(""),
		"39 digits": avN(strings.Repeat("1", 39)), "overflow": avN("1e126"), "underflow": avN("1e-131"), "largest": avN("9.9e125"), "empty string": avS(""), "empty binary": avB(""),
		"empty list": avL(), "empty map": avM(obj{}), "hex": avN("0x1"), "space": avN(" 1"), "infinity": avN("Infinity"), "NaN": avN("NaN"), "empty name in map": avM(obj{"": avN(1)}),
		"unicode": avS("é\u2028<>&\"\\\u0001"), "deep": nested(31), "too deep": nested(32), "sets": {"NS": []string{"10", "9", "-1"}}, "nested": avL(avM(obj{"a": avL(avN(1), obj{"BOOL": false})})),
	} {
		steps := []step{plainTable, put(obj{"id": avS("a"), "v": v})}
		if name != "largest" && name != "sets" { // Local keeps a number's own spelling
			steps = append(steps, getA)
		}
		add("put/value "+name, steps...)
	}
	for _, n := range []string{"1.50", "0010", "1E3", "-0", "0.0000012300", "+5", "1.", ".5", "1e-5"} {
		add("put/number "+n, plainTable, put(obj{"id": avS("a"), "v": avN(n)}), getA, put(keyA, obj{"ConditionExpression": "v = :v", "ExpressionAttributeValues": vals("v", avN(n))}))
	}
	add("put/empty attribute name", plainTable, put(obj{"id": avS("a"), "": avN(1)}))
	add("put/table names", raw("PutItem", obj{"TableName": "pr", "Item": keyA}), raw("PutItem", obj{"TableName": "a!b", "Item": keyA}), put(keyA))
	add("put/values without expression", plainTable, put(keyA, obj{"ExpressionAttributeValues": vals("x", avN(1))}), put(keyA, obj{"ExpressionAttributeNames": obj{"#a": "a"}}))
	add("put/unknown parameter", plainTable, put(keyA, obj{"Foo": 1}).deviates("Local ignores what it does not know; a test double must not",
		validation+"dynamotest: PutItem: parameter Foo is not supported"))
	add("put/condition", plainTable, put(fixture, obj{"ConditionExpression": "attribute_not_exists(id)"}), put(fixture, obj{"ConditionExpression": "attribute_not_exists(id)"}),
		put(fixture, obj{"ConditionExpression": "attribute_not_exists(id)"}, allOld), put(fixture, obj{"ConditionExpression": "n = :n", "ExpressionAttributeValues": vals("n", avN(1))}, allOld))
	add("put/index keys", indexTable, put(obj{"id": avS("a"), "u": avS("")}), put(obj{"id": avS("a"), "u": avN(1)}), put(obj{"id": avS("a"), "u": avS(strings.Repeat("u", 2048))}))

	for kind, p := range map[string]obj{"KEYS_ONLY": {"ProjectionType": "KEYS_ONLY"}, "INCLUDE": {"ProjectionType": "INCLUDE", "NonKeyAttributes": []string{"p"}}, "ALL": {"ProjectionType": "ALL"}} {
		big := avS(strings.Repeat("y", 3000))
		scanIndex := scan(indexes, obj{"IndexName": "byu"})
		if kind == "KEYS_ONLY" {
			scanIndex = scanIndex.deviates("a read of an index costs what its entries weigh (DG, GSI), as in Local's own Query; its Scan counts the table's items",
				`200 {"ConsumedCapacity":{"CapacityUnits":0.5,"GlobalSecondaryIndexes":{"byu":{"CapacityUnits":0.5}},"Table":{"CapacityUnits":0},"TableName":"$T"},"Count":1,"Items":[{"id":{"S":"a"},"u":{"S":"y"}}],"ScannedCount":1}`)
		}
		add("index units/"+kind, tableWithIndex(p),
			put(keyA, indexes), put(obj{"id": avS("a"), "u": avS("x"), "x": big}, indexes), put(obj{"id": avS("a"), "u": avS("x"), "x": big, "p": avS("q")}, indexes),
			put(obj{"id": avS("a"), "u": avS("y"), "x": big, "p": avS("q")}, indexes), put(obj{"id": avS("a"), "u": avS("y"), "p": avS(strings.Repeat("q", 5000))}, indexes),
			query("u = :u", vals("u", avS("y")), indexes, obj{"IndexName": "byu"}), scanIndex, scan(indexes),
			put(obj{"id": avS("a"), "p": avS("q")}, indexes), upd("SET u = :u", vals("u", avS("c")), indexes), upd("SET u = :u", vals("u", avS("d")), indexes),
			upd("SET x = :u", vals("u", avS("d")), indexes), upd("SET x = :u", vals("u", avS("d")), indexes), upd("SET p = :u", vals("u", avS("d")), indexes, obj{"ReturnConsumedCapacity": "TOTAL"}),
			upd("REMOVE u", nil, indexes), upd("SET u = :u", vals("u", avS("c")), indexes), del("a", indexes), del("a", indexes))
	}

	add("delete/absent", plainTable, del("a", indexes, obj{"ReturnValues": "ALL_OLD"}))
	add("delete/present", plainTable, put(sized(5000)), del("a", indexes), getA)
	add("delete/ALL_OLD", plainTable, put(fixture), del("a", obj{"ReturnValues": "ALL_OLD"}), getA)
	add("delete/unasked capacity", plainTable, raw("DeleteItem", obj{"Key": keyA}).deviates("ConsumedCapacity is only returned if it is asked for (API reference); Local does so for every other operation", "200 {}"))
	add("delete/return values", plainTable, del("a", obj{"ReturnValues": "ALL_NEW"}), del("a", obj{"ReturnValues": "UPDATED_OLD"}))
	add("delete/condition", plainTable, put(fixture), del("a", obj{"ConditionExpression": "n = :n", "ExpressionAttributeValues": vals("n", avN(2))}),
		del("a", obj{"ConditionExpression": "n = :n", "ExpressionAttributeValues": vals("n", avN(2))}, allOld), del("nope", obj{"ConditionExpression": "attribute_exists(id)"}, allOld),
		del("a", obj{"ConditionExpression": ""}), del("a", obj{"ConditionExpression": "n = :n", "ExpressionAttributeValues": vals("n", avN(1))}), getA)
	add("delete/keys", plainTable, raw("DeleteItem", obj{}), raw("DeleteItem", obj{"Key": obj{"id": avN(1)}}), del(""))

	for name, extra := range map[string]obj{
		"BOOL": {"BOOL": true}, "NULL": {"NULL": true}, "string": avS("é"), "binary": avB("AAE="), "empty list": avL(), "list": avL(avS("a"), avN(1)), "map": avM(obj{"k": avL(avN(1))}),
		"SS": avSS("a", "bc"), "NS": {"NS": []string{"1", "22"}}, "BS": {"BS": []string{"AAE="}}, "N 1": avN(1), "N 123": avN(123), "N -1": avN(-1), "N 0": avN(0), "N 1.5": avN("1.5"),
		"N 100": avN(100), "N 0.01": avN("0.01"), "N 0.001": avN("0.001"), "N -123.45": avN("-123.45"), "N 10010": avN("10010"), "N 38 digits": avN(strings.Repeat("9", 38)),
		"N 12345678901": avN("12345678901"),
	} {
		// Around 1 KB the units tell the size to the byte.
		var steps []step
		steps = append(steps, plainTable)
		for pad := 988; pad <= 1016; pad++ {
			steps = append(steps, del("a"), put(with(sized(pad), obj{"v": extra}), indexes))
		}
		add("size/"+name, steps...)
	}
}

func nested(depth int) obj {
	v := avN(1)
	for range depth {
		v = avL(v)
	}
	return v
}

// missed says why reads of nothing are not free here.
const missed = "a read of what does not exist costs the minimum (DG, read-write-operations); Local's own GetItem says so too"

func readCases(add adder) {
	five := []step{indexTable}
	for i, u := range []string{"bo", "al", "bo", "al", "bo"} {
		five = append(five, put(obj{"id": avS(string(rune('v' + i))), "n": avN(i), "u": avS(u), "x": avS("pad")}))
	}
	read := func(name string, steps ...step) { add(name, append(append([]step{}, five...), steps...)...) }

	add("get/units", plainTable, get(indexes), get(indexes, obj{"ConsistentRead": true}), put(obj{"id": avS("a"), "p": avS(strings.Repeat("y", 5000))}),
		get(obj{"ReturnConsumedCapacity": "TOTAL", "ProjectionExpression": "id"}), get(indexes, obj{"ConsistentRead": true, "ProjectionExpression": "id"}))
	add("get/keys", plainTable, get(obj{"Key": obj{"id": avN(1)}}), get(obj{"Key": obj{"id": avS("")}}), get(obj{"Key": obj{}}), get(obj{"Key": obj{"x": avS("a")}}), raw("GetItem", obj{}))
	add("get/no table", get())
	add("get/not JSON", plainTable, raw("GetItem", `{"Table`).deviates("Local answers 500 to what is no JSON; the service answers SerializationException",
		`400 SerializationException: dynamotest: GetItem: unexpected EOF`))
	add("get/unknown operation", raw("Foo", obj{}).deviates("the message names the operation", "400 UnknownOperationException: dynamotest: operation Foo is not supported"))
	for _, p := range []string{"n", "n, m.k, l[0]", "l[1]", "l[1], l[0]", "l[5]", "nope", "m.nope", "n, n", "m, m.k", "m.k, m", "name", "n,", "", "#x", ":x", "n s", "nope(n)", "m.k.j", "l[0], l.a", "SET"} {
		add("projection/"+p, plainTable, put(fixture), get(obj{"ProjectionExpression": p}))
	}
	add("projection/names", plainTable, put(fixture), get(obj{"ProjectionExpression": "#n", "ExpressionAttributeNames": obj{"#n": "n"}}), get(obj{"ProjectionExpression": "n", "ExpressionAttributeNames": obj{"#n": "n"}}),
		get(obj{"ExpressionAttributeNames": obj{"#n": "n"}}))
	add("projection/AttributesToGet", plainTable, put(fixture), get(obj{"AttributesToGet": []string{"n", "nope"}}), get(obj{"AttributesToGet": []string{}}), get(obj{"AttributesToGet": []string{"n", "n"}}),
		get(obj{"AttributesToGet": []string{"n"}, "ProjectionExpression": "n"}))

	byU := obj{"IndexName": "byu"}
	v := vals("i", avS("w"))
	read("query/table", query("id = :i", v, indexes), query("id = :i", vals("i", avS("nope")), indexes).deviates(missed, `200 {"ConsumedCapacity":{"CapacityUnits":0.5,"Table":{"CapacityUnits":0.5},"TableName":"$T"},"Count":0,"Items":[],"ScannedCount":0}`), query("id = :i", v, indexes, obj{"ConsistentRead": true}), query(":i = id", v), query("(id = :i)", v))
	for _, e := range []string{"id > :i", "n = :i", "", "id = :i AND n = :i", "id = :i OR id = :i", "id = :i AND id = :i", "begins_with(id, :i)", "NOT id = :i", "id IN (:i)", "id <> :i", "id BETWEEN :i AND :i", "id = :i AND", "attribute_exists(id) AND id = :i", "id.x = :i", "name = :i", "#i = :i"} {
		read("query/key condition "+e, query(e, v))
	}
	read("query/paths", query("id = u", nil))
	read("query/missing", raw("Query", obj{}))
	read("query/values", query("id = :i", vals("i", avN(1))), query("id = :i", vals("i", avS("w"), "j", avN(1))), query("id = :i", nil), query("id = :i", v, obj{"Limit": 0}))
	read("query/filter", query("id = :i", vals("i", avS("w"), "n", avN(1)), obj{"FilterExpression": "n = :n"}), query("id = :i", vals("i", avS("w"), "n", avN(2)), obj{"FilterExpression": "n = :n"}),
		query("id = :i", v, obj{"FilterExpression": "id = :i"}), query("id = :i", v, obj{"FilterExpression": ""}))
	read("query/select", query("id = :i", v, obj{"Select": "COUNT"}), query("id = :i", v, obj{"Select": "ALL_ATTRIBUTES"}), query("id = :i", v, obj{"Select": "SPECIFIC_ATTRIBUTES"}), query("id = :i", v, obj{"Select": "FOO"}),
		query("id = :i", v, obj{"Select": "SPECIFIC_ATTRIBUTES", "ProjectionExpression": "n"}), query("id = :i", v, obj{"Select": "ALL_PROJECTED_ATTRIBUTES"}))
	u := vals("i", avS("al"))
	read("query/index", raw("walk", with(byU, obj{"op": "Scan", "Limit": 1})), raw("walk", with(byU, obj{"op": "Scan", "FilterExpression": "u = :i", "ExpressionAttributeValues": u})))
	read("query/index units", query("u = :i", vals("i", avS("zz")), byU, indexes).deviates(missed,
		`200 {"ConsumedCapacity":{"CapacityUnits":0.5,"GlobalSecondaryIndexes":{"byu":{"CapacityUnits":0.5}},"Table":{"CapacityUnits":0},"TableName":"$T"},"Count":0,"Items":[],"ScannedCount":0}`),
		query("u = :i", vals("i", avS("al")), byU, obj{"ReturnConsumedCapacity": "TOTAL", "Select": "COUNT"}))
	read("query/index errors", query("id = :i", v, byU), query("id = :i", v, obj{"IndexName": "nope"}), query("u = :i", u, byU, obj{"ConsistentRead": true}), query("u = :i", u, byU, obj{"ProjectionExpression": "x"}),
		query("u = :i", u, byU, obj{"Select": "ALL_ATTRIBUTES"}), query("u = :i", vals("i", avS("al"), "n", avN(1)), byU, obj{"FilterExpression": "n = :n"}), query("u = :i", vals("i", avS("")), byU),
		query("u = :i", u, byU, obj{"ExclusiveStartKey": obj{"id": avS("w")}}), query("u = :i", vals("i", avS("al"), "n", avS("w")), byU, obj{"FilterExpression": "id = :n"}), query("u = :i", u, byU, obj{"Select": "COUNT"}))

	range4 := []step{rangeTable}
	for i := range 4 {
		range4 = append(range4, put(obj{"h": avS("a"), "r": avN(i * 5), "x": avS("p")}))
	}
	ranged := func(name string, e string, values obj, more ...obj) {
		add("query/range "+name, append(append([]step{}, range4...), query(e, values, append(more, obj{"ProjectionExpression": "r"})...))...)
	}
	h := avS("a")
	ranged("all", "h = :h", vals("h", h))
	ranged("backward", "h = :h", vals("h", h), obj{"ScanIndexForward": false, "Limit": 2})
	ranged("backward from", "h = :h", vals("h", h), obj{"ScanIndexForward": false, "ExclusiveStartKey": obj{"h": h, "r": avN(10)}})
	ranged("from", "h = :h", vals("h", h), obj{"ExclusiveStartKey": obj{"h": h, "r": avN(7)}})
	ranged("from elsewhere", "h = :h", vals("h", h), obj{"ExclusiveStartKey": obj{"h": avS("b"), "r": avN(7)}})
	for _, op := range []string{"=", "<", "<=", ">", ">=", "<>"} {
		ranged(op, "h = :h AND r "+op+" :r", vals("h", h, "r", avN(5)))
	}
	ranged("between", "r BETWEEN :r AND :s AND h = :h", vals("h", h, "r", avN(5), "s", avN(10)))
	ranged("begins_with", "h = :h AND begins_with(r, :r)", vals("h", h, "r", avN(5)))
	ranged("begins_with string", "h = :h AND begins_with(r, :r)", vals("h", h, "r", avS("5")))
	ranged("in", "h = :h AND r IN (:r)", vals("h", h, "r", avN(5)))
	ranged("exists", "h = :h AND attribute_exists(r)", vals("h", h))
	ranged("size", "h = :h AND size(r) = :r", vals("h", h, "r", avN(5)))
	ranged("wrong type", "h = :h AND r = :r", vals("h", h, "r", avS("5")))
	ranged("only range", "r = :r", vals("r", avN(5)))
	ranged("parentheses", "(h = :h) AND (r = :r)", vals("h", h, "r", avN(5)))
	ranged("or", "h = :h AND r = :r OR r = :r", vals("h", h, "r", avN(5)))
	ranged("three", "h = :h AND r = :r AND r = :r", vals("h", h, "r", avN(5)))
	add("query/range keys", rangeTable, raw("GetItem", obj{"Key": obj{"h": h}}), raw("GetItem", obj{"Key": obj{"h": h, "x": h}}), put(obj{"h": h, "r": avN("5")}), raw("DeleteItem", obj{"Key": obj{"h": h, "r": avN("5.0")}, "ReturnValues": "ALL_OLD"}))

	read("scan/all", scan(indexes), scan(obj{"ReturnConsumedCapacity": "TOTAL", "ConsistentRead": true}), raw("walk", obj{"op": "Scan", "Limit": 5}), scan(obj{"Select": "COUNT"}))
	read("scan/walk", raw("walk", obj{"op": "Scan", "Limit": 1}), raw("walk", obj{"op": "Scan", "Limit": 2}))
	read("scan/filter", scan(obj{"FilterExpression": "n > :n", "ExpressionAttributeValues": vals("n", avN(2)), "ProjectionExpression": "id"}), scan(obj{"FilterExpression": "n > :n", "ExpressionAttributeValues": vals("n", avN(2)), "Select": "COUNT"}),
		scan(obj{"FilterExpression": "id = :n", "ExpressionAttributeValues": vals("n", avS("w"))}), scan(obj{"FilterExpression": ""}), scan(obj{"FilterExpression": "name = :n", "ExpressionAttributeValues": vals("n", avN(2))}),
		scan(obj{"ExpressionAttributeValues": vals("n", avN(2))}), scan(obj{"ExpressionAttributeNames": obj{"#n": "n"}}))
	read("scan/select", scan(obj{"Select": "SPECIFIC_ATTRIBUTES"}), scan(obj{"Select": "ALL_PROJECTED_ATTRIBUTES"}), scan(obj{"Select": "FOO"}), scan(obj{"Select": "COUNT", "ProjectionExpression": "id"}), scan(obj{"Select": "COUNT", "AttributesToGet": []string{"id"}}))
	read("scan/limits", scan(obj{"Limit": 0}), scan(obj{"Limit": -1}))
	read("scan/segments", scan(obj{"Segment": 0, "TotalSegments": 1}), scan(obj{"Segment": 2, "TotalSegments": 2}), scan(obj{"Segment": 0}), scan(obj{"TotalSegments": 2}), scan(obj{"Segment": 0, "TotalSegments": 1000001}))
	read("scan/start", scan(obj{"ExclusiveStartKey": obj{"id": avN(1)}}), scan(obj{"ExclusiveStartKey": obj{"x": avS("1")}}), scan(obj{"ExclusiveStartKey": obj{}}))
	read("scan/index", scan(obj{"IndexName": "byu"}), scan(obj{"IndexName": "byu", "ConsistentRead": true}), scan(obj{"IndexName": "nope"}))
	var big []step
	big = append(big, plainTable)
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		big = append(big, put(obj{"id": avS(id), "p": avS(strings.Repeat("y", 300<<10))}))
	}
	add("scan/1 MB pages", append(big, raw("walk", obj{"op": "Scan", "ProjectionExpression": "id"}), raw("walk", obj{"op": "Scan", "Select": "COUNT", "FilterExpression": "attribute_not_exists(p)"}))...)
}

func batchCases(add adder) {
	bw := func(requests any, more ...obj) step {
		return raw("BatchWriteItem", with(obj{"RequestItems": requests}, more...))
	}
	bg := func(tables any, more ...obj) step {
		return raw("BatchGetItem", with(obj{"RequestItems": tables}, more...))
	}
	putR := func(item obj) obj { return obj{"PutRequest": obj{"Item": item}} }
	delR := func(key obj) obj { return obj{"DeleteRequest": obj{"Key": key}} }
	id := func(s string) obj { return obj{"id": avS(s)} }
	var many []any
	for i := range 26 {
		many = append(many, putR(id(string(rune('a'+i)))))
	}
	var keys []any
	for i := range 101 {
		keys = append(keys, id(strings.Repeat("k", i+1)))
	}
	add("batch write/ok", plainTable, put(fixture), bw(obj{"$T": []any{putR(id("b")), delR(id("a"))}}), scan())
	add("batch write/units", plainTable, bw(obj{"$T": []any{putR(id("b")), delR(id("a"))}}, indexes).deviates("a put in a batch costs as much as by itself (DG, read-write-operations); Local counts it twice",
		`200 {"ConsumedCapacity":[{"CapacityUnits":2,"Table":{"CapacityUnits":2},"TableName":"$T"}],"UnprocessedItems":{}}`),
		bw(obj{"$T": []any{delR(id("b")), delR(id("a"))}}, indexes).deviates("likewise a delete", `200 {"ConsumedCapacity":[{"CapacityUnits":2,"Table":{"CapacityUnits":2},"TableName":"$T"}],"UnprocessedItems":{}}`))
	add("batch write/errors", plainTable, bw(obj{}), bw(obj{"$T": []any{}}), bw(obj{"$T": []any{putR(id("b")), putR(id("b"))}}), bw(obj{"$T": []any{putR(id("b")), delR(id("b"))}}), bw(obj{"$T": many}), bw(obj{"$T": []any{obj{}}}),
		bw(obj{"$T-no": []any{delR(id("a"))}}), bw(obj{"$T": []any{putR(id(""))}}), bw(obj{"$T": []any{with(putR(id("b")), delR(id("c")))}}), bw(obj{"$T": []any{delR(obj{"id": avN(1)})}}),
		bw(obj{"$T": []any{putR(obj{"id": avS("b"), "p": avS(strings.Repeat("y", 400<<10))})}}), scan())
	add("batch write/25", plainTable, bw(obj{"$T": many[:25]}), scan())
	add("batch get/ok", plainTable, put(fixture), bg(obj{"$T": obj{"Keys": []any{id("a"), id("none")}, "ConsistentRead": true, "ProjectionExpression": "id,#n", "ExpressionAttributeNames": obj{"#n": "n"}}}, indexes).deviates(missed,
		`200 {"ConsumedCapacity":[{"CapacityUnits":2,"Table":{"CapacityUnits":2},"TableName":"$T"}],"Responses":{"$T":[{"id":{"S":"a"},"n":{"N":"1"}}]},"UnprocessedKeys":{}}`),
		bg(obj{"$T": obj{"Keys": []any{id("a")}}}, indexes), bg(obj{"$T": obj{"Keys": []any{id("a")}, "AttributesToGet": []string{"n"}}}))
	add("batch get/errors", plainTable, bg(obj{}), bg(obj{"$T": obj{"Keys": []any{}}}), bg(obj{"$T": obj{"Keys": []any{id("a"), id("a")}}}), bg(obj{"$T": obj{"Keys": keys}}), bg(obj{"$T-no": obj{"Keys": []any{id("a")}}}),
		bg(obj{"$T": obj{"Keys": []any{obj{"id": avN(1)}}}}), bg(obj{"$T": obj{"Keys": []any{id("")}}}), bg(obj{"$T": obj{"Keys": []any{with(id("a"), obj{"x": avS("y")})}}}),
		bg(obj{"$T": obj{"Keys": []any{id("a")}, "ProjectionExpression": "name"}}), bg(obj{"$T": obj{"Keys": []any{id("a")}, "ProjectionExpression": ""}}))
	add("batch get/100", plainTable, bg(obj{"$T": obj{"Keys": keys[:100]}}, indexes).deviates(missed, `200 {"ConsumedCapacity":[{"CapacityUnits":50,"Table":{"CapacityUnits":50},"TableName":"$T"}],"Responses":{"$T":[]},"UnprocessedKeys":{}}`))
}

func transactCases(add adder) {
	tw := func(items []any, more ...obj) step {
		return raw("TransactWriteItems", with(obj{"TransactItems": items}, more...))
	}
	id := func(s string) obj { return obj{"id": avS(s)} }
	tput := func(item obj, more ...obj) obj {
		return obj{"Put": with(obj{"TableName": "$T", "Item": item}, more...)}
	}
	tdel := func(key string, more ...obj) obj {
		return obj{"Delete": with(obj{"TableName": "$T", "Key": id(key)}, more...)}
	}
	tupd := func(key, e string, more ...obj) obj {
		return obj{"Update": with(obj{"TableName": "$T", "Key": id(key), "UpdateExpression": e}, more...)}
	}
	tcheck := func(key, e string, more ...obj) obj {
		return obj{"ConditionCheck": with(obj{"TableName": "$T", "Key": id(key), "ConditionExpression": e}, more...)}
	}
	absent := obj{"ConditionExpression": "attribute_not_exists(id)"}
	isN := func(n int) obj {
		return obj{"ConditionExpression": "n = :n", "ExpressionAttributeValues": vals("n", avN(n))}
	}
	renew := func(n int) []any { return []any{tput(id("b"), absent), tdel("a", isN(n))} }
	token := obj{"ClientRequestToken": "$T"}

	add("transact/renew", plainTable, put(fixture), tw(renew(1)), getA, scan())
	add("transact/refused", plainTable, put(fixture), tw(renew(2)), tw([]any{tput(id("b"), absent, allOld), tdel("a", isN(2), allOld)}), getA, scan())
	add("transact/all kinds", plainTable, put(fixture), tw([]any{tput(id("b")), tdel("c"), tcheck("a", "attribute_exists(id)"), tupd("d", "SET n = :n", obj{"ExpressionAttributeValues": vals("n", avN(1))})}), scan())
	add("transact/all refused", plainTable, put(fixture), tw([]any{tput(keyA, absent, allOld), tdel("b", obj{"ConditionExpression": "attribute_exists(id)"}),
		tcheck("c", "attribute_not_exists(id)", allOld), tupd("d", "SET n = :n", obj{"ExpressionAttributeValues": vals("n", avN(1))})}), scan())
	add("transact/refused check", plainTable, put(fixture), tw([]any{tcheck("a", "n = :n", isN(3), obj{"ConditionExpression": "n = :n"}, allOld)}))
	add("transact/token", plainTable, put(fixture), tw(renew(1), token), tw(renew(1), token), scan(), tw(renew(2), token).deviates("Local gives no message", "400 IdempotentParameterMismatchException: The request uses a client token that was already used with other parameters"))
	add("transact/token after refusal", plainTable, put(fixture), tw(renew(2), token), tw(renew(1), token), scan())
	add("transact/long token", plainTable, tw([]any{tput(keyA)}, obj{"ClientRequestToken": strings.Repeat("x", 37)}))
	twice := "two units per KB and item (DG, read-write-operations); Local counts the put four times"
	add("transact/units", plainTable,
		tw([]any{tput(keyA)}, indexes).deviates(twice, `200 {"ConsumedCapacity":[{"CapacityUnits":2,"Table":{"CapacityUnits":2,"WriteCapacityUnits":2},"TableName":"$T","WriteCapacityUnits":2}]}`))
	add("transact/errors", plainTable, tw([]any{}), tw([]any{obj{}}), tw([]any{tput(id("b")), tdel("b")}), tw([]any{obj{"ConditionCheck": obj{"TableName": "$T", "Key": keyA}}}), tw([]any{with(tput(keyA), tdel("b"))}),
		tw([]any{tput(id(""))}), tw([]any{tput(keyA, obj{"ConditionExpression": "name = :x", "ExpressionAttributeValues": vals("x", avN(1))})}), tw([]any{obj{"Put": obj{"TableName": "$T-no", "Item": keyA}}}),
		tw([]any{tput(obj{"id": avN(1)})}), tw([]any{tupd("a", "SET id = :n", obj{"ExpressionAttributeValues": vals("n", avN(9))})}), tw([]any{tcheck("a", "")}), tw([]any{tupd("a", "SET x = :n, y = :m", obj{"ExpressionAttributeValues": vals("n", avN(9))})}),
		tw([]any{tput(obj{"id": avS("b"), "p": avS(strings.Repeat("y", 400<<10))})}), tw([]any{obj{"Update": obj{"TableName": "$T", "Key": keyA}}}), scan())
	add("transact/wrong operand", plainTable, put(fixture), tw([]any{tupd("a", "SET s = s + :n", obj{"ExpressionAttributeValues": vals("n", avN(9))}), tput(id("b"))}).deviates("the API reference lists this message among the ValidationError reasons of TransactionCanceledException",
		`400 TransactionCanceledException: Transaction cancelled, please refer cancellation reasons for specific reasons [ValidationError, None] {"CancellationReasons":[{"Code":"ValidationError","Message":"An operand in the update expression has an incorrect data type"},{"Code":"None"}]}`), scan())
	var many []any
	for i := range 101 {
		many = append(many, tput(id(strings.Repeat("k", i+1))))
	}
	add("transact/101", plainTable, tw(many), tw(many[:100]))
	var big []any
	for _, k := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
		big = append(big, tput(obj{"id": avS(k), "p": avS(strings.Repeat("y", 390000))}))
	}
	add("transact/4 MB", plainTable, tw(big), tw(big[:10]))
	tg := func(gets ...any) step { return raw("TransactGetItems", with(obj{"TransactItems": gets}, indexes)) }
	tget := func(key obj, more ...obj) obj { return obj{"Get": with(obj{"TableName": "$T", "Key": key}, more...)} }
	add("transact get", plainTable, put(fixture), tg(tget(keyA, obj{"ProjectionExpression": "n"}), tget(id("none"))).deviates("Local leaves ReadCapacityUnits out of Table here, but not in TransactWriteItems",
		`200 {"ConsumedCapacity":[{"CapacityUnits":4,"ReadCapacityUnits":4,"Table":{"CapacityUnits":4,"ReadCapacityUnits":4},"TableName":"$T"}],"Responses":[{"Item":{"n":{"N":"1"}}},{}]}`), tg(tget(obj{"id": avS("")})))
}
