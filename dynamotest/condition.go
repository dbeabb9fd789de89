package dynamotest

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// parseCondition parses a condition, a filter or a key condition.
func parseCondition(kind, src string, holders *placeholders) (*expr, *apiError) {
	p := newParser(kind, src, holders)
	if p.err != nil {
		return nil, p.err
	}
	e := p.parseOr()
	p.wantCondition(e)
	p.end()
	if p.err != nil {
		return nil, p.err
	}
	return e, nil
}

func (e *expr) isCondition() bool {
	switch e.op {
	case "path", "value", "size":
		return false
	}
	return true
}

// wantCondition refuses an operand where a condition has to stand.
func (p *parser) wantCondition(e *expr) {
	switch {
	case p.err != nil:
	case e.op == "size":
		p.fail("The function is not allowed to be used this way in an expression; function: size")
	case !e.isCondition():
		p.syntax()
	}
}

func (p *parser) wantOperand(e *expr) {
	if p.err == nil && e.isCondition() {
		if functions[e.op].truth {
			p.fail("The function is not allowed to be used this way in an expression; function: " + e.op)
			return
		}
		p.syntax()
	}
}

// parseOr may give back a bare operand, since "(a)" can begin both "(a) = :b" and "(a = :b)".
func (p *parser) parseOr() *expr {
	left := p.parseAnd()
	for p.err == nil && p.isKeyword("OR") {
		p.wantCondition(left)
		p.next()
		p.operator()
		right := p.parseAnd()
		p.wantCondition(right)
		left = &expr{op: "OR", args: []*expr{left, right}}
	}
	return left
}

func (p *parser) parseAnd() *expr {
	left := p.parseNot()
	for p.err == nil && p.isKeyword("AND") {
		p.wantCondition(left)
		p.next()
		p.operator()
		right := p.parseNot()
		p.wantCondition(right)
		left = &expr{op: "AND", args: []*expr{left, right}}
	}
	return left
}

func (p *parser) parseNot() *expr {
	if p.acceptKeyword("NOT") {
		p.operator()
		e := p.parseNot()
		p.wantCondition(e)
		return &expr{op: "NOT", args: []*expr{e}}
	}
	return p.parseComparison()
}

func (p *parser) parseComparison() *expr {
	left := p.parseOperand()
	if p.err != nil {
		return nil
	}
	t := p.tok()
	switch {
	case t.kind == tokSymbol && isComparator(t.text):
		p.wantOperand(left)
		p.next()
		p.operator()
		right := p.parseOperand()
		if p.err != nil {
			return nil
		}
		p.wantOperand(right)
		return p.comparison(t.text, left, right)
	case p.acceptKeyword("BETWEEN"):
		p.wantOperand(left)
		p.operator()
		low := p.parseOperand()
		if p.err == nil && !p.acceptKeyword("AND") {
			p.syntax()
		}
		high := p.parseOperand()
		if p.err != nil {
			return nil
		}
		p.wantOperand(low)
		p.wantOperand(high)
		return p.between(left, low, high)
	case p.acceptKeyword("IN"):
		p.wantOperand(left)
		p.operator()
		return p.in(left)
	}
	return left
}

func isComparator(s string) bool {
	switch s {
	case "=", "<>", "<", "<=", ">", ">=":
		return true
	}
	return false
}

func (p *parser) parseOperand() *expr {
	switch t := p.tok(); {
	case p.accept("("):
		e := p.parseOr()
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
	case t.kind == tokValue:
		return &expr{op: "value", value: p.parseValue()}
	case p.isCall():
		return p.parseCall(false, p.parseArgument)
	}
	return &expr{op: "path", path: p.parsePath()}
}

// parseArgument reads a function's operand.
func (p *parser) parseArgument() *expr {
	e := p.parseOperand()
	if p.err == nil {
		p.wantOperand(e)
	}
	return e
}

func (p *parser) comparison(op string, left, right *expr) *expr {
	args := []*expr{left, right}
	p.distinct(op, args)
	if op != "=" && op != "<>" {
		p.wantOrdered(op, args)
	}
	return &expr{op: op, args: args}
}

func (p *parser) wantOrdered(op string, args []*expr) {
	for _, a := range args {
		if a.op == "value" && !a.value.isOrdered() {
			p.wrongOperand(op, a.value.kind)
			return
		}
	}
}

func (p *parser) between(x, low, high *expr) *expr {
	args := []*expr{x, low, high}
	p.distinct("BETWEEN", args)
	p.wantOrdered("BETWEEN", args)
	if p.err == nil && low.op == "value" && high.op == "value" {
		bounds := fmt.Sprintf("lower bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s", low.value.text(), high.value.text())
		if low.value.kind != high.value.kind {
			p.fail("The BETWEEN operator requires same data type for lower and upper bounds; " + bounds)
		} else if compareScalars(low.value, high.value) > 0 {
			p.fail("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; " + bounds)
		}
	}
	return &expr{op: "BETWEEN", args: args}
}

func (p *parser) in(x *expr) *expr {
	p.expect("(")
	e := &expr{op: "IN", args: []*expr{x}}
	for p.err == nil {
		a := p.parseOperand()
		if p.err != nil {
			return nil
		}
		p.wantOperand(a)
		e.args = append(e.args, a)
		if !p.accept(",") {
			p.expect(")")
			break
		}
	}
	if p.err != nil {
		return nil
	}
	if n := len(e.args) - 1; n > maxInOperands {
		p.fail(fmt.Sprintf("The IN operator is provided with too many operands; number of operands: %d", n))
	}
	p.distinct("IN", e.args)
	return e
}

// holds evaluates a condition; a nil expression holds always.
func (e *expr) holds(item map[string]value) bool {
	if e == nil {
		return true
	}
	switch e.op {
	case "AND":
		return e.args[0].holds(item) && e.args[1].holds(item)
	case "OR":
		return e.args[0].holds(item) || e.args[1].holds(item)
	case "NOT":
		return !e.args[0].holds(item)
	case "attribute_exists", "attribute_not_exists":
		_, ok := e.args[0].eval(item)
		return ok == (e.op == "attribute_exists")
	case "<>":
		// Also true when one side is missing.
		a, okA := e.args[0].eval(item)
		b, okB := e.args[1].eval(item)
		return !okA || !okB || !a.equal(b)
	}
	vals := make([]value, len(e.args))
	for i, a := range e.args {
		v, ok := a.eval(item)
		if !ok && (e.op != "IN" || i == 0) {
			return false
		}
		vals[i] = v
	}
	switch e.op {
	case "=":
		return vals[0].equal(vals[1])
	case "<", "<=", ">", ">=":
		return ordered(e.op, vals[0], vals[1])
	case "BETWEEN":
		return ordered(">=", vals[0], vals[1]) && ordered("<=", vals[0], vals[2])
	case "IN":
		return slices.ContainsFunc(vals[1:], vals[0].equal)
	case "attribute_type":
		return vals[0].kind == vals[1].s
	case "begins_with":
		return vals[0].kind == vals[1].kind && (vals[0].kind == "S" || vals[0].kind == "B") && strings.HasPrefix(vals[0].s, vals[1].s)
	case "contains":
		return vals[0].contains(vals[1])
	}
	return false
}

func ordered(op string, a, b value) bool {
	if a.kind != b.kind || !a.isOrdered() {
		return false
	}
	c := compareScalars(a, b)
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func (v value) contains(w value) bool {
	switch v.kind {
	case "S", "B":
		return v.kind == w.kind && strings.Contains(v.s, w.s)
	case "SS", "NS", "BS", "L":
		return slices.ContainsFunc(v.l, w.equal)
	}
	return false
}

// eval returns an operand's value, and reports whether there is one.
func (e *expr) eval(item map[string]value) (value, bool) {
	switch e.op {
	case "value":
		return e.value, true
	case "path":
		return e.path.get(item)
	case "size":
		v, ok := e.args[0].eval(item)
		if !ok {
			return value{}, false
		}
		n, ok := v.length()
		return intValue(n), ok
	}
	return value{}, false
}

// length is what size() returns: characters, bytes, or elements.
func (v value) length() (int, bool) {
	switch v.kind {
	case "S":
		return len(utf16.Encode([]rune(v.s))), true
	case "B":
		return len(v.s), true
	case "SS", "NS", "BS", "L":
		return len(v.l), true
	case "M":
		return len(v.m), true
	}
	return 0, false
}

func intValue(i int) value {
	n, err := parseNumber(fmt.Sprint(i))
	return value{kind: "N", n: n, bad: err}
}

func (p path) get(item map[string]value) (value, bool) {
	v := value{kind: "M", m: item}
	for _, e := range p {
		switch {
		case e.isIndex && v.kind == "L" && e.index < len(v.l):
			v = v.l[e.index]
		case !e.isIndex && v.kind == "M":
			var ok bool
			if v, ok = v.m[e.name]; !ok {
				return value{}, false
			}
		default:
			return value{}, false
		}
	}
	return v, true
}

// names lists the top-level attributes that an expression mentions.
func (e *expr) names(out map[string]bool) {
	if e == nil {
		return
	}
	if e.op == "path" {
		out[e.path[0].name] = true
	}
	for _, a := range e.args {
		a.names(out)
	}
}
