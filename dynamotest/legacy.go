package dynamotest

import "slices"

// The parameters from before expressions, which the session handler of the AWS SDK for PHP still
// sends. They become expressions.

type expected struct {
	Value              *value
	Exists             *bool
	ComparisonOperator string
	AttributeValueList []value
}

type scanFilter struct {
	ComparisonOperator string
	AttributeValueList []value
}

type attributeUpdate struct {
	Value  *value
	Action string
}

func attribute(name string) *expr { return &expr{op: "path", path: path{{name: name}}} }

func (l legacyCondition) test() (*expr, *apiError) {
	if l.Expected == nil {
		if l.ConditionalOperator != "" {
			return nil, invalid("ConditionalOperator cannot be used without Filter or Expected")
		}
		return nil, nil
	}
	var tests []*expr
	for _, name := range sortedKeys(l.Expected) {
		e, err := l.Expected[name].test(name)
		if err != nil {
			return nil, err
		}
		tests = append(tests, e)
	}
	return joinTests(tests, l.ConditionalOperator)
}

func joinTests(tests []*expr, operator string) (*expr, *apiError) {
	if err := enum(operator, "conditionalOperator", "OR", "AND"); err != nil {
		return nil, err
	}
	if operator == "" {
		operator = "AND"
	}
	var all *expr
	for _, e := range tests {
		if all == nil {
			all = e
		} else {
			all = &expr{op: operator, args: []*expr{all, e}}
		}
	}
	return all, nil
}

func (x expected) test(name string) (*expr, *apiError) {
	wrong := func(what string) *apiError {
		return invalid("One or more parameter values were invalid: " + what + " for Attribute: " + name)
	}
	switch {
	case x.ComparisonOperator != "":
		list := x.AttributeValueList
		if x.Exists != nil {
			return nil, wrong("Exists and ComparisonOperator cannot be used together")
		}
		if x.Value != nil {
			list = append([]value{*x.Value}, list...)
		} else if list == nil && x.ComparisonOperator != "NULL" && x.ComparisonOperator != "NOT_NULL" {
			return nil, wrong("Value or AttributeValueList must be used with ComparisonOperator: " + x.ComparisonOperator)
		}
		return comparisonTest(name, x.ComparisonOperator, list)
	case x.Exists != nil && !*x.Exists:
		if x.Value != nil {
			return nil, wrong("Value cannot be used when Exists is false")
		}
		return &expr{op: "attribute_not_exists", args: []*expr{attribute(name)}}, nil
	case x.Value == nil:
		exists := "null"
		if x.Exists != nil {
			exists = "true"
		}
		return nil, wrong("Value must be provided when Exists is " + exists)
	case x.Value.bad != nil:
		return nil, x.Value.bad
	}
	return &expr{op: "=", args: []*expr{attribute(name), {op: "value", value: *x.Value}}}, nil
}

// comparisons maps the old operators to the new ones, with the number of values each takes
// (-1: one or more) and the types it takes.
var comparisons = map[string]struct {
	op    string
	count int
	kinds string
}{
	"EQ":           {"=", 1, ""},
	"NE":           {"<>", 1, ""},
	"LE":           {"<=", 1, "S N B"},
	"LT":           {"<", 1, "S N B"},
	"GE":           {">=", 1, "S N B"},
	"GT":           {">", 1, "S N B"},
	"NOT_NULL":     {"attribute_exists", 0, ""},
	"NULL":         {"attribute_not_exists", 0, ""},
	"CONTAINS":     {"contains", 1, "S N B BOOL NULL"},
	"NOT_CONTAINS": {"contains", 1, "S N B BOOL NULL"},
	"BEGINS_WITH":  {"begins_with", 1, "S B"},
	"IN":           {"IN", -1, "S N B BOOL NULL"},
	"BETWEEN":      {"BETWEEN", 2, "S N B"},
}

func comparisonTest(name, operator string, list []value) (*expr, *apiError) {
	c, ok := comparisons[operator]
	if !ok {
		return nil, invalid("Comparison type does not exist in DynamoDB")
	}
	const wrong = "One or more parameter values were invalid: "
	if c.count >= 0 && len(list) != c.count || c.count < 0 && len(list) == 0 {
		return nil, invalid(wrong + "Invalid number of argument(s) for the " + operator + " ComparisonOperator")
	}
	e := &expr{op: c.op, args: []*expr{attribute(name)}}
	for _, v := range list {
		if v.bad != nil {
			return nil, v.bad
		}
		if c.kinds != "" && !slices.Contains(words(c.kinds), v.kind) {
			return nil, invalid(wrong + "ComparisonOperator " + operator + " is not valid for " + v.kind + " AttributeValue type")
		}
		e.args = append(e.args, &expr{op: "value", value: v})
	}
	switch operator {
	case "BETWEEN":
		if list[0].kind != list[1].kind {
			return nil, invalid(wrong + "AttributeValues inside AttributeValueList must be of same type")
		}
		if compareScalars(list[0], list[1]) > 0 {
			return nil, invalid("The BETWEEN condition was provided a range where the lower bound is greater than the upper bound")
		}
	case "NOT_CONTAINS":
		exists := &expr{op: "attribute_exists", args: e.args[:1]}
		return &expr{op: "AND", args: []*expr{exists, {op: "NOT", args: []*expr{e}}}}, nil
	}
	return e, nil
}

func legacyFilter(filters map[string]scanFilter, operator string) (*expr, *apiError) {
	if len(filters) == 0 {
		if operator != "" {
			return nil, invalid("ConditionalOperator cannot be used without Filter or Expected")
		}
		return nil, nil
	}
	var tests []*expr
	for _, name := range sortedKeys(filters) {
		f := filters[name]
		e, err := comparisonTest(name, f.ComparisonOperator, f.AttributeValueList)
		if err != nil {
			return nil, err
		}
		tests = append(tests, e)
	}
	return joinTests(tests, operator)
}

func legacyActions(updates map[string]attributeUpdate) ([]action, *apiError) {
	const wrong = "One or more parameter values were invalid: "
	var actions []action
	for _, name := range sortedKeys(updates) {
		if name == "" {
			return nil, invalid("Empty attribute name")
		}
		u := updates[name]
		verb := u.Action
		if verb == "" {
			verb = "PUT"
		}
		a := action{path: path{{name: name}}, legacy: true}
		if u.Value != nil {
			if u.Value.bad != nil {
				return nil, u.Value.bad
			}
			a.expr = &expr{op: "value", value: *u.Value}
		}
		switch verb {
		case "PUT":
			a.verb = "SET"
		case "ADD":
			a.verb = "ADD"
			if u.Value != nil && u.Value.kind != "N" && !u.Value.isSet() {
				return nil, invalid(wrong + "ADD action is not supported for the type " + longKind(u.Value.kind))
			}
		case "DELETE":
			a.verb = "DELETE"
			if u.Value == nil {
				a.verb = "REMOVE"
			} else if !u.Value.isSet() {
				return nil, invalid(wrong + "DELETE action with value is not supported for the type " + longKind(u.Value.kind))
			}
		default:
			return nil, invalid("Member must satisfy enum value set: [ADD, DELETE, PUT]")
		}
		if u.Value == nil && verb != "DELETE" {
			return nil, invalid(wrong + "Only DELETE action is allowed when no attribute value is specified")
		}
		actions = append(actions, a)
	}
	return actions, nil
}
