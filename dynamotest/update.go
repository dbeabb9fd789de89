package dynamotest

import (
	"fmt"
	"maps"
	"slices"
)

// action is one change of an update: SET, REMOVE, ADD or DELETE at a path.
type action struct {
	verb   string
	path   path
	expr   *expr // SET's new value; the operand of ADD and DELETE
	legacy bool  // from AttributeUpdates
}

func (a action) mismatch() *apiError {
	if a.legacy {
		return invalid("Type mismatch for attribute to update")
	}
	return invalid(wrongOperand)
}

func parseUpdate(src string, holders *placeholders) ([]action, *apiError) {
	p := newParser("UpdateExpression", src, holders)
	if p.err != nil {
		return nil, p.err
	}
	var actions []action
	seen := map[string]bool{}
	for first := true; p.err == nil && (first || p.tok().kind != tokEOF); first = false {
		verb := p.tok().word
		switch verb {
		case "SET", "REMOVE", "ADD", "DELETE":
		default:
			p.syntax()
		}
		if p.err != nil {
			break
		}
		if seen[verb] {
			p.fail("The \"" + verb + "\" section can only be used once in an update expression;")
			break
		}
		seen[verb] = true
		p.next()
		for p.err == nil {
			actions = append(actions, p.parseAction(verb))
			if !p.accept(",") {
				break
			}
		}
	}
	if p.err == nil {
		p.overlaps(pathsOf(actions))
	}
	if p.err != nil {
		return nil, p.err
	}
	return actions, nil
}

func pathsOf(actions []action) []path {
	paths := make([]path, len(actions))
	for i, a := range actions {
		paths[i] = a.path
	}
	return paths
}

func (p *parser) parseAction(verb string) action {
	a := action{verb: verb, path: p.parsePath()}
	if p.err != nil {
		return a
	}
	p.operator()
	switch verb {
	case "SET":
		p.expect("=")
		a.expr = p.parseSetValue()
	case "ADD", "DELETE":
		a.expr = &expr{op: "value", value: p.parseValue()}
		v := a.expr.value
		if p.err == nil && !v.isSet() && (verb == "DELETE" || v.kind != "N") {
			p.fail(fmt.Sprintf("Incorrect operand type for operator or function; operator: %s, operand type: %s, typeSet: ALLOWED_FOR_%s_OPERAND", verb, longKind(v.kind), verb))
		}
	}
	return a
}

func longKind(kind string) string {
	switch kind {
	case "S":
		return "STRING"
	case "N":
		return "NUMBER"
	case "B":
		return "BINARY"
	case "BOOL":
		return "BOOLEAN"
	case "L":
		return "LIST"
	case "M":
		return "MAP"
	}
	return kind
}

func (p *parser) parseSetValue() *expr {
	left := p.parseSetOperand()
	if p.err != nil || !p.isSymbol("+") && !p.isSymbol("-") {
		return left
	}
	op := p.next().text
	p.operator()
	right := p.parseSetOperand()
	if p.err != nil {
		return nil
	}
	for _, a := range []*expr{left, right} {
		if a.op == "value" && a.value.kind != "N" {
			p.wrongOperand(op, a.value.kind)
		}
	}
	return &expr{op: op, args: []*expr{left, right}}
}

func (p *parser) parseSetOperand() *expr {
	switch {
	case p.err != nil:
		return nil
	case p.accept("("):
		e := p.parseSetValue()
		if p.err == nil {
			p.expect(")")
		}
		if p.err != nil {
			return nil
		}
		if e.parens {
			p.redundant()
			return nil
		}
		e.parens = true
		return e
	case p.tok().kind == tokValue:
		return &expr{op: "value", value: p.parseValue()}
	case p.isCall():
		return p.parseCall(true, p.parseSetOperand)
	}
	return &expr{op: "path", path: p.parsePath()}
}

// overlaps refuses two paths of which one contains the other. A tree of the paths finds that
// without comparing each with each.
func (p *parser) overlaps(paths []path) {
	type node struct {
		path   path // one that goes through here
		end    bool
		index  bool // the children are list elements
		childs map[pathElem]*node
	}
	root := &node{}
	for _, two := range paths {
		n := root
		for i, e := range two {
			if n.childs == nil {
				n.childs = map[pathElem]*node{}
				n.index = e.isIndex
			}
			if i > 0 && n.index != e.isIndex {
				p.fail(fmt.Sprintf("Two document paths conflict with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", n.path, two))
				return
			}
			child := n.childs[e]
			if child == nil {
				child = &node{path: two}
				n.childs[e] = child
			} else if child.end || i == len(two)-1 {
				p.fail(fmt.Sprintf("Two document paths overlap with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", child.path, two))
				return
			}
			n = child
		}
		n.end = true
	}
}

const (
	missingOperand = "The provided expression refers to an attribute that does not exist in the item"
	wrongOperand   = "An operand in the update expression has an incorrect data type"
	wrongPath      = "The document path provided in the update expression is invalid for update"
)

// applyUpdate returns the item after all actions. Every operand is read from the item as it was.
func applyUpdate(old map[string]value, actions []action) (map[string]value, *apiError) {
	item := maps.Clone(old)
	if item == nil {
		item = map[string]value{}
	}
	type change struct {
		path path
		val  value
	}
	var sets []change
	var removes []path
	for _, a := range actions {
		switch a.verb {
		case "SET":
			v, err := a.expr.compute(old)
			if err != nil {
				return nil, err
			}
			sets = append(sets, change{a.path, v})
		case "REMOVE":
			removes = append(removes, a.path)
		case "ADD":
			v, err := a.addTo(old)
			if err != nil {
				return nil, err
			}
			sets = append(sets, change{a.path, v})
		case "DELETE":
			v, ok := a.path.get(old)
			if !ok {
				continue
			}
			if v.kind != a.expr.value.kind {
				return nil, a.mismatch()
			}
			if v = v.without(a.expr.value); len(v.l) > 0 {
				sets = append(sets, change{a.path, v})
			} else {
				removes = append(removes, a.path)
			}
		}
	}
	// Elements beyond a list's end are appended in the order of their indexes, and elements go
	// from the back so that the indexes before them stay true.
	slices.SortStableFunc(sets, func(a, b change) int { return comparePaths(a.path, b.path) })
	slices.SortStableFunc(removes, func(a, b path) int { return comparePaths(b, a) })
	for _, c := range sets {
		if !c.path.change(item, &c.val) {
			return nil, invalid(wrongPath)
		}
	}
	for _, r := range removes {
		if !r.change(item, nil) {
			return nil, invalid(wrongPath)
		}
	}
	return item, nil
}

func comparePaths(a, b path) int {
	return slices.CompareFunc(a, b, func(x, y pathElem) int { return x.index - y.index })
}

func (e *expr) compute(item map[string]value) (value, *apiError) {
	switch e.op {
	case "if_not_exists":
		if v, ok := e.args[0].path.get(item); ok {
			return v, nil
		}
		return e.args[1].compute(item)
	case "list_append", "+", "-":
		a, err := e.args[0].compute(item)
		if err != nil {
			return value{}, err
		}
		b, err := e.args[1].compute(item)
		if err != nil {
			return value{}, err
		}
		return combine(e.op, a, b)
	}
	v, ok := e.eval(item)
	if !ok {
		return value{}, invalid(missingOperand)
	}
	return v, nil
}

func combine(op string, a, b value) (value, *apiError) {
	want := "N"
	if op == "list_append" {
		want = "L"
	}
	if a.kind != want || b.kind != want {
		return value{}, invalid(wrongOperand)
	}
	if want == "L" {
		return value{kind: "L", l: slices.Concat(a.l, b.l)}, nil
	}
	n, err := a.n.add(b.n, op == "-")
	return value{kind: "N", n: n}, err
}

func (a action) addTo(item map[string]value) (value, *apiError) {
	v := a.expr.value
	was, ok := a.path.get(item)
	if !ok {
		return v, nil
	}
	if was.kind != v.kind {
		return value{}, a.mismatch()
	}
	if v.kind == "N" {
		return combine("+", was, v)
	}
	all := slices.Concat(was.l, v.l)
	slices.SortFunc(all, compareScalars)
	return value{kind: v.kind, l: slices.CompactFunc(all, value.equal)}, nil
}

// without returns the set v less the elements of w.
func (v value) without(w value) value {
	var left []value
	for _, e := range v.l {
		if !w.contains(e) {
			left = append(left, e)
		}
	}
	return value{kind: v.kind, l: left}
}

// change sets the value at the path, or removes it if val is nil. item is the caller's own map;
// what is below it is shared and therefore copied on the way down.
func (p path) change(item map[string]value, val *value) bool {
	name := p[0].name
	if len(p) == 1 {
		if val == nil {
			delete(item, name)
		} else {
			item[name] = *val
		}
		return true
	}
	v, ok := item[name]
	if !ok {
		return false
	}
	if v, ok = v.changed(p[1:], val); ok {
		item[name] = v
	}
	return ok
}

func (v value) changed(p path, val *value) (value, bool) {
	e := p[0]
	switch {
	case !e.isIndex && v.kind == "M":
		v.m = maps.Clone(v.m)
		return v, p.change(v.m, val)
	case e.isIndex && v.kind == "L":
		v.l = slices.Clone(v.l)
	default:
		return v, false
	}
	inside := e.index < len(v.l)
	switch {
	case len(p) > 1:
		if !inside {
			return v, false
		}
		x, ok := v.l[e.index].changed(p[1:], val)
		v.l[e.index] = x
		return v, ok
	case val == nil && inside:
		v.l = slices.Delete(v.l, e.index, e.index+1)
	case val != nil && inside:
		v.l[e.index] = *val
	case val != nil:
		v.l = append(v.l, *val)
	}
	return v, true
}
