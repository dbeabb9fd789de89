package dynamotest

func tableCases(add adder) {
	plainTable, indexTable, rangeTable := plainTable, indexTable, rangeTable
	plainTable.setup, indexTable.setup, rangeTable.setup = false, false, false
	create := func(in obj) step { return raw("CreateTable", in) }
	base := obj{"AttributeDefinitions": []any{defID}, "KeySchema": stringKey, "BillingMode": "PAY_PER_REQUEST"}
	describe, remove := raw("DescribeTable", obj{}), raw("DeleteTable", obj{})
	gsi := func(p any) obj {
		return with(base, obj{"AttributeDefinitions": []any{defID, defU}, "GlobalSecondaryIndexes": []any{obj{"IndexName": "byu", "KeySchema": userKey, "Projection": p}}})
	}
	add("table/life", plainTable, describe, plainTable, remove, describe, remove)
	add("table/with index", indexTable, put(obj{"id": avS("a"), "u": avS("b")}), put(obj{"id": avS("b")}), describe)
	add("table/provisioned", create(obj{"AttributeDefinitions": []any{defID}, "KeySchema": stringKey, "ProvisionedThroughput": obj{"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}}), describe)
	add("table/include", create(gsi(obj{"ProjectionType": "INCLUDE", "NonKeyAttributes": []string{"p"}})), create(gsi(obj{"ProjectionType": "INCLUDE"})))
	add("table/range", rangeTable, describe)
	add("table/errors", create(obj{"AttributeDefinitions": []any{defID}, "KeySchema": stringKey}), create(obj{"KeySchema": stringKey, "BillingMode": "PAY_PER_REQUEST"}), create(with(base, obj{"AttributeDefinitions": []any{}})),
		create(with(base, obj{"KeySchema": []any{obj{"AttributeName": "id", "KeyType": "RANGE"}}})), create(with(base, obj{"AttributeDefinitions": []any{defID, defU}})), create(with(base, obj{"AttributeDefinitions": []any{defU}})),
		create(with(base, obj{"GlobalSecondaryIndexes": []any{}})), create(with(gsi(obj{"ProjectionType": "KEYS_ONLY"}), obj{"AttributeDefinitions": []any{defID}})), create(with(base, obj{"TableName": "no"})), describe)
	add("table/protected", create(with(base, obj{"DeletionProtectionEnabled": true})), remove, raw("UpdateTable", obj{}), raw("UpdateTable", obj{"DeletionProtectionEnabled": false}), remove, raw("UpdateTable", obj{"DeletionProtectionEnabled": false}))
	add("table/tags", create(with(base, obj{"Tags": []any{obj{"Key": "a", "Value": "b"}}})), describe)
	add("table/unsupported", create(with(base, obj{"LocalSecondaryIndexes": []any{}})).deviates("local indexes are not supported here", validation+"dynamotest: CreateTable: parameter LocalSecondaryIndexes is not supported"))
	ttl := func(enabled bool, name string) step {
		return raw("UpdateTimeToLive", obj{"TimeToLiveSpecification": obj{"Enabled": enabled, "AttributeName": name}})
	}
	show := raw("DescribeTimeToLive", obj{})
	add("ttl/life", plainTable, show, ttl(true, "e"), show, ttl(true, "e"), ttl(true, "f"), ttl(false, "f"), ttl(false, "e"), show, ttl(false, "e"))
	add("ttl/errors", ttl(true, "e"), show, plainTable, ttl(true, ""), raw("UpdateTimeToLive", obj{}))
	add("list/errors", raw("ListTables", obj{"Limit": 0}))
}

func legacyCases(add adder) {
	l := func(more ...obj) step {
		return raw("UpdateItem", with(obj{"Key": keyA, "ReturnValues": "ALL_NEW"}, more...))
	}
	set := func(v obj) obj { return obj{"AttributeUpdates": obj{"e": obj{"Action": "PUT", "Value": v}}} }
	expect := func(name string, x obj) obj { return obj{"Expected": obj{name: x}} }
	unlock := obj{"AttributeUpdates": obj{"expires": obj{"Action": "PUT", "Value": avN(5)}, "data": obj{"Action": "PUT", "Value": avS("x")}, "lock": obj{"Action": "DELETE"}}}
	lock := obj{"AttributeUpdates": obj{"lock": obj{"Action": "PUT", "Value": avN(1)}}}
	add("php/locking", plainTable, l(lock, expect("lock", obj{"Exists": false})), l(lock, expect("lock", obj{"Exists": false})), l(unlock), l(lock, expect("lock", obj{"Exists": false})), getA)
	add("php/delete", plainTable, put(fixture), del("a"), del("a"))
	add("php/get", plainTable, put(fixture), get(obj{"ConsistentRead": true}))
	add("php/collect", plainTable, put(obj{"id": avS("a"), "expires": avN(3)}), put(obj{"id": avS("b"), "expires": avN(9)}), put(obj{"id": avS("c"), "expires": avN(3), "lock": avN(1)}),
		scan(obj{"AttributesToGet": []string{"id"}, "ScanFilter": obj{"expires": obj{"ComparisonOperator": "LT", "AttributeValueList": []any{avN(5)}}, "lock": obj{"ComparisonOperator": "NULL"}}}))
	add("legacy/updates", plainTable, put(obj{"id": avS("a"), "e": avN(1), "ss": avSS("a", "b")}), l(set(avN(5))), l(set(avS(""))), l(obj{"AttributeUpdates": obj{"e": obj{"Value": avN(7)}}}), l(obj{"AttributeUpdates": obj{"e": obj{"Action": "ADD", "Value": avN(7)}}}),
		l(obj{"AttributeUpdates": obj{"ss": obj{"Action": "DELETE", "Value": avSS("a")}, "q": obj{"Action": "ADD", "Value": avSS("x")}}}), l(obj{"AttributeUpdates": obj{}}))
	add("legacy/update errors", plainTable, put(fixture), l(obj{"AttributeUpdates": obj{"e": obj{"Action": "FOO", "Value": avN(1)}}}), l(obj{"AttributeUpdates": obj{"e": obj{"Action": "PUT"}}}), l(obj{"AttributeUpdates": obj{"id": obj{"Action": "PUT", "Value": avN(1)}}}),
		l(set(avN(1)), obj{"UpdateExpression": "SET e = :e", "ExpressionAttributeValues": vals("e", avN(1))}), l(obj{"AttributeUpdates": obj{"e": obj{"Action": "DELETE", "Value": avN(1)}}}), l(obj{"AttributeUpdates": obj{"e": obj{"Action": "ADD", "Value": avS("x")}}}),
		l(obj{"AttributeUpdates": obj{"s": obj{"Action": "ADD", "Value": avN(1)}}}), l(obj{"AttributeUpdates": obj{"": obj{"Action": "PUT", "Value": avN(1)}}}), getA)
	add("legacy/expected", plainTable, l(set(avN(6))), l(set(avN(1)), expect("e", obj{"Value": avN(6)})), l(set(avN(1)), expect("e", obj{"Value": avN(6)})), l(set(avN(1)), expect("e", obj{"ComparisonOperator": "GE", "AttributeValueList": []any{avN(0)}})),
		l(set(avN(2)), expect("e", obj{"Exists": true, "Value": avN(1)})), l(set(avN(3)), expect("e", obj{"ComparisonOperator": "EQ", "Value": avN(2)})),
		l(set(avN(3)), obj{"Expected": obj{"e": obj{"Value": avN(99)}, "w": obj{"Exists": false}}}), l(set(avN(3)), obj{"Expected": obj{"e": obj{"Value": avN(99)}, "w": obj{"Exists": false}}, "ConditionalOperator": "OR"}),
		put(keyA, expect("id", obj{"Exists": false})), del("a", expect("e", obj{"Value": avN(99)})))
	add("legacy/expected errors", plainTable, l(set(avN(1)), expect("e", obj{"Exists": true})), l(set(avN(1)), expect("e", obj{"Exists": false, "Value": avN(1)})), l(set(avN(1)), expect("e", obj{})), l(set(avN(1)), expect("e", obj{"ComparisonOperator": "FOO"})),
		l(set(avN(1)), expect("e", obj{"ComparisonOperator": "EQ", "Exists": true})), l(set(avN(1)), obj{"ConditionalOperator": "OR"}), l(expect("e", obj{"Value": avN(1)}), obj{"UpdateExpression": "SET e = :e", "ExpressionAttributeValues": vals("e", avN(1))}))
	filter := func(op string, list ...any) {
		f := obj{"ComparisonOperator": op}
		if len(list) > 0 {
			f["AttributeValueList"] = list
		}
		add("legacy/filter "+op+text(list), plainTable, put(fixture), put(obj{"id": avS("b"), "n": avN(5)}), put(obj{"id": avS("c")}), scan(obj{"ScanFilter": obj{"n": f}}), scan(obj{"ScanFilter": obj{"s": f}, "Select": "COUNT"}))
	}
	for _, op := range []string{"EQ", "NE", "LE", "LT", "GE", "GT"} {
		filter(op, avN(1))
	}
	filter("NULL")
	filter("NOT_NULL")
	filter("CONTAINS", avS("x"))
	filter("NOT_CONTAINS", avS("x"))
	filter("BEGINS_WITH", avS("x"))
	filter("IN", avN(1), avN(2))
	filter("BETWEEN", avN(0), avN(2))
	filter("BETWEEN", avN(3), avN(2))
	filter("EQ")
	filter("EQ", avN(1), avN(2))
	filter("NULL", avN(1))
	filter("LT", obj{"BOOL": true})
	filter("BEGINS_WITH", avN(1))
	filter("FOO", avN(1))
	lt := obj{"ScanFilter": obj{"n": obj{"ComparisonOperator": "LT", "AttributeValueList": []any{avN(2)}}}}
	add("legacy/filter errors", plainTable, put(fixture), scan(lt, obj{"FilterExpression": "n = :n"}), scan(obj{"ConditionalOperator": "OR"}), scan(obj{"ScanFilter": obj{}}))
}

// protocolCases are the very expressions that a session store sends.
func protocolCases(add adder) {
	names := obj{"#e": "expires", "#d": "data", "#r": "rev", "#w": "w", "#b": "born", "#u": "until", "#l": "lock", "#h": "holder", "#us": "user", "#i": "id"}
	value := obj{
		":now": avN(1000), ":e": avN(2000), ":d": avS("new"), ":d0": avS("old"), ":dB": avB("b2xk"), ":r": avN(3), ":r1": avN(4), ":one": avN(1), ":w": avS("aaaaaaaacccccccc"), ":c": avS("aaaaaaaa"), ":other": avS("zzzzzzzz"),
		":u": avN(5000), ":end": avN("1795400000000"), ":me": avS("me"), ":t12": avN("1000000000000"), ":dead": avN("1795399999000"), ":seen": avN(1500), ":cut": avN(940), ":late": avN(1600), ":foreign": avS("php"), ":l0": avN(1), ":user": avS("al"), ":past": avN(-85400),
	}
	// send fills in just the placeholders that the expressions mention.
	send := func(op string, in obj) step {
		used := text(in)
		n, v := obj{}, obj{}
		for _, t := range lex(used) {
			switch t.kind {
			case tokName:
				n[t.text] = names[t.text]
			case tokValue:
				v[t.text] = value[t.text]
			}
		}
		if len(n) > 0 {
			in["ExpressionAttributeNames"] = n
		}
		if len(v) > 0 {
			in["ExpressionAttributeValues"] = v
		}
		return raw(op, with(obj{"Key": keyA, "ReturnConsumedCapacity": "INDEXES"}, in, allOld))
	}
	change := func(e, c string) step {
		return send("UpdateItem", obj{"UpdateExpression": e, "ConditionExpression": c})
	}
	locking := send("UpdateItem", obj{"UpdateExpression": "SET #l=:end, #h=:me", "ConditionExpression": "#e > :now AND (attribute_not_exists(#l) OR #l BETWEEN :t12 AND :dead)", "ReturnValues": "ALL_NEW"})
	live := obj{"id": avS("a"), "expires": avN(1500), "data": avS("old"), "rev": avN(3), "w": avS("aaaaaaaabbbbbbbb"), "born": avN(500), "until": avN(5000)}
	php := obj{"id": avS("a"), "expires": avN(1500), "data": avS("old")}
	dead := with(live, obj{"expires": avN(900)})
	locked := with(live, obj{"lock": avN("1795400000000"), "holder": avS("me")})
	phpLock := with(live, obj{"lock": avN(1)})
	userItem := with(live, obj{"user": avS("al")})

	states := map[string]obj{"none": nil, "live": live, "php": php, "dead": dead, "locked": locked, "php lock": phpLock, "binary": with(live, obj{"data": avB("b2xk")}), "user": userItem, "expired lease": with(live, obj{"lock": avN("1795399990000"), "holder": avS("it")})}
	const unchanged = "#r = :r"
	writes := map[string]step{
		"merge":                    change("SET #d=:d, #e=:e, #w=:w, #r=:r1", "#e > :now AND begins_with(#w, :c) AND "+unchanged),
		"merge, foreign":           change("SET #d=:d, #e=:e, #w=:w, #r=:r1", "#e > :now AND begins_with(#w, :c) AND "+unchanged+" AND #d = :d0"),
		"merge, foreign binary":    change("SET #d=:d, #e=:e, #w=:w, #r=:r1", "#e > :now AND begins_with(#w, :c) AND "+unchanged+" AND #d = :dB"),
		"merge, php":               change("SET #d=:d, #e=:e, #w=:w, #r=:r1, #b=if_not_exists(#b,:now), #u=if_not_exists(#u,:u)", "#e > :now AND attribute_not_exists(#w) AND attribute_not_exists(#r) AND #d = :d0"),
		"merge, php without data":  change("SET #d=:d, #e=:e, #w=:w, #r=:r1, #b=if_not_exists(#b,:now), #u=if_not_exists(#u,:u)", "#e > :now AND attribute_not_exists(#w) AND attribute_not_exists(#r) AND attribute_not_exists(#d)"),
		"merge, empty":             change("SET #e=:e, #w=:w, #r=:r1 REMOVE #d", "#e > :now AND begins_with(#w, :c) AND "+unchanged),
		"merge, other session":     change("SET #d=:d, #e=:e, #w=:w, #r=:r1", "#e > :now AND begins_with(#w, :other) AND "+unchanged),
		"last write wins":          change("SET #d=:d, #e=:e, #w=:w ADD #r :one", "#e > :now AND begins_with(#w, :c)"),
		"last write wins, php":     change("SET #d=:d, #e=:e, #w=:w ADD #r :one", "#e > :now"),
		"touch":                    change("SET #e=:e", "#e > :now AND #e < :e AND begins_with(#w, :c) AND (attribute_not_exists(#u) OR #u >= :e)"),
		"touch, php":               change("SET #e=:e, #b=if_not_exists(#b,:now), #u=if_not_exists(#u,:u)", "#e > :now AND #e < :e AND (attribute_not_exists(#u) OR #u >= :e)"),
		"lock-acquire":             locking,
		"lock-bound":               change("SET #l=:end, #h=:foreign", "#l = :l0 AND #e > :now"),
		"lock-save-release":        change("SET #d=:d, #e=:e, #w=:w, #r=:r1 REMOVE #l, #h", "#l = :end AND #h = :me AND #e > :now AND begins_with(#w, :c) AND "+unchanged),
		"lock-release":             change("REMOVE #l, #h", "#l = :end AND #h = :me"),
		"lock-release, touch":      change("SET #e=:e REMOVE #l, #h", "#l = :end AND #h = :me AND #e > :now AND (attribute_not_exists(#u) OR #u >= :e)"),
		"tombstone":                change("SET #e=:past, #w=:w REMOVE #d, #r, #b, #u, #l, #h, #us", "#e > :now AND begins_with(#w, :c) AND "+unchanged),
		"sweep-delete":             send("DeleteItem", obj{"ConditionExpression": "#e = :seen AND #e < :late"}),
		"sweep-delete, used again": send("DeleteItem", obj{"ConditionExpression": "#e = :seen AND #e < :cut"}),
		"sweep-delete, rev":        send("DeleteItem", obj{"ConditionExpression": "#e = :seen AND #e < :late AND #r = :r"}),
		"destroy":                  send("DeleteItem", obj{}),
		"destroy user":             send("DeleteItem", obj{"ConditionExpression": "#us = :user"}),
		"write 1":                  change("SET #d=:d, #e=:e ADD #r :one", "#e > :now"),
		"update timestamp":         change("SET #e=:e", "#e > :now AND #e < :e AND (attribute_not_exists(#u) OR #u >= :e)"),
	}
	puts := map[string]string{"new": "attribute_not_exists(#i)", "write 2": "attribute_not_exists(#i) OR #e <= :now", "write 2, leftover": "attribute_not_exists(#i) OR #e <= :now OR attribute_not_exists(#e)"}
	for name, c := range puts {
		st := send("PutItem", obj{"Item": live, "ConditionExpression": c})
		in := st.in.(obj)
		delete(in, "Key")
		writes[name] = st
	}
	for _, state := range sortedKeys(states) {
		for _, name := range sortedKeys(writes) {
			steps := []step{tableWithUser}
			if item := states[state]; item != nil {
				steps = append(steps, put(item))
			}
			add("protocol/"+name+", "+state, append(steps, writes[name], getA)...)
		}
		for _, cond := range []string{"#e > :now AND begins_with(#w, :c) AND #r = :r", "#e > :now AND begins_with(#w, :c) AND #r = :r AND #l = :end AND #h = :me"} {
			del := send("", obj{"ConditionExpression": cond}).in.(obj)
			delete(del, "ReturnConsumedCapacity")
			steps := []step{tableWithUser}
			if item := states[state]; item != nil {
				steps = append(steps, put(item))
			}
			renew := raw("TransactWriteItems", obj{"ClientRequestToken": "$T", "TransactItems": []any{
				obj{"Put": obj{"TableName": "$T", "Item": with(live, obj{"id": avS("b")}), "ConditionExpression": "attribute_not_exists(#i)", "ExpressionAttributeNames": obj{"#i": "id"}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}},
				obj{"Delete": with(del, obj{"TableName": "$T"})}}})
			add("protocol/renew "+cond[len(cond)-3:]+", "+state, append(steps, renew, scan())...)
		}
	}
	add("protocol/user index", tableWithUser, put(userItem), query("#us = :user", obj{":user": avS("al")}, obj{"IndexName": "user", "ExpressionAttributeNames": obj{"#us": "user"}}, indexes))
}

var tableWithUser = step{op: "CreateTable", setup: true, in: obj{
	"AttributeDefinitions": []any{defID, obj{"AttributeName": "user", "AttributeType": "S"}}, "KeySchema": stringKey, "BillingMode": "PAY_PER_REQUEST",
	"GlobalSecondaryIndexes": []any{obj{"IndexName": "user", "KeySchema": []any{obj{"AttributeName": "user", "KeyType": "HASH"}}, "Projection": obj{"ProjectionType": "KEYS_ONLY"}}},
}}
