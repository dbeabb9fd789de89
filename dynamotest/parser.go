package dynamotest

import (
	"fmt"
	"strconv"
	"strings"
)

// expr is a node of a parsed expression. op is "path", "value", a function, an operator or a
// keyword; args are its operands.
type expr struct {
	op     string
	path   path
	value  value
	args   []*expr
	parens bool
}

type path []pathElem

type pathElem struct {
	name    string
	index   int
	isIndex bool
}

func (p path) String() string {
	parts := make([]string, len(p))
	for i, e := range p {
		parts[i] = e.name
		if e.isIndex {
			parts[i] = "[" + strconv.Itoa(e.index) + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// functions says where each function may stand and how many operands it takes.
var functions = map[string]struct {
	operands  int
	condition bool // in conditions and filters
	update    bool // in update expressions
	truth     bool // is a condition by itself
}{
	"attribute_exists":     {1, true, false, true},
	"attribute_not_exists": {1, true, false, true},
	"attribute_type":       {2, true, false, true},
	"begins_with":          {2, true, false, true},
	"contains":             {2, true, false, true},
	"size":                 {1, true, false, false},
	"if_not_exists":        {2, false, true, false},
	"list_append":          {2, false, true, false},
}

type parser struct {
	kind      string // the request parameter, for messages
	src       string
	toks      []token
	pos       int
	operators int
	holders   *placeholders
	err       *apiError // the first one; parsing goes on to the end of the token list at once
}

func newParser(kind, src string, holders *placeholders) *parser {
	p := &parser{kind: kind, src: src, holders: holders}
	switch {
	case src == "":
		p.fail("The expression can not be empty;")
	case len(src) > maxExpression && kind == "UpdateExpression":
		p.fail("Expression size has exceeded the maximum allowed size;")
	case len(src) > maxExpression:
		p.fail(fmt.Sprintf("Expression size has exceeded the maximum allowed size; expression size: %d", len(src)))
	default:
		p.toks = lex(src)
	}
	return p
}

func (p *parser) fail(message string) {
	if p.err == nil {
		p.err = invalid("Invalid " + p.kind + ": " + message)
	}
	p.toks = []token{{kind: tokEOF, text: "<EOF>"}}
	p.pos = 0
}

func (p *parser) tok() token { return p.toks[p.pos] }

func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

// syntax reports the current token, with its neighbours, as the service does.
func (p *parser) syntax() {
	t := p.tok()
	from, to := 0, len(p.src)
	if p.pos > 0 {
		from = p.toks[p.pos-1].start
	}
	if p.pos+1 < len(p.toks) {
		if n := p.toks[p.pos+1]; n.kind != tokEOF {
			to = n.end
		}
	}
	if p.err == nil {
		p.fail(fmt.Sprintf("Syntax error; token: \"%s\", near: \"%s\"", t.text, p.src[from:to]))
	}
}

func (p *parser) isSymbol(s string) bool {
	t := p.tok()
	return t.kind == tokSymbol && t.text == s
}

func (p *parser) isKeyword(w string) bool {
	t := p.tok()
	return t.kind == tokKeyword && t.word == w
}

func (p *parser) accept(symbol string) bool {
	if p.isSymbol(symbol) {
		p.next()
		return true
	}
	return false
}

func (p *parser) acceptKeyword(w string) bool {
	if p.isKeyword(w) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(symbol string) {
	if !p.accept(symbol) {
		p.syntax()
	}
}

func (p *parser) operator() {
	p.operators++
	if p.operators > maxOperators {
		p.fail(fmt.Sprintf("The expression contains too many operators; operator count: %d", p.operators))
	}
}

// end wants nothing to be left.
func (p *parser) end() {
	if p.err == nil && p.tok().kind != tokEOF {
		p.syntax()
	}
}

func (p *parser) parsePath() path {
	out := path{{name: p.pathName()}}
	for p.err == nil {
		switch {
		case p.accept("."):
			out = append(out, pathElem{name: p.pathName()})
		case p.accept("["):
			if p.tok().kind != tokIndex {
				p.syntax()
				return nil
			}
			text := p.next().text
			i, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				p.fail("List index is not within the allowable range; index: [" + text + "]")
				return nil
			}
			out = append(out, pathElem{index: int(i), isIndex: true})
			p.expect("]")
		default:
			return out
		}
	}
	return nil
}

func (p *parser) pathName() string {
	t := p.tok()
	switch t.kind {
	case tokWord:
		p.next()
		if isReserved(t.text) {
			p.fail("Attribute name is a reserved keyword; reserved keyword: " + t.text)
		}
		return t.text
	case tokName:
		p.next()
		name, ok := p.holders.names[t.text]
		if !ok {
			p.fail("An expression attribute name used in the document path is not defined; attribute name: " + t.text)
		}
		p.holders.usedNames[t.text] = true
		return name
	}
	p.syntax()
	return ""
}

func (p *parser) parseValue() value {
	t := p.tok()
	if t.kind != tokValue {
		p.syntax()
		return value{}
	}
	p.next()
	v, ok := p.holders.values[t.text]
	if !ok {
		p.fail("An expression attribute value used in expression is not defined; attribute value: " + t.text)
	}
	p.holders.usedValues[t.text] = true
	return v
}

// isCall reports whether a name is that of a function, and not of an attribute.
func (p *parser) isCall() bool {
	if p.tok().kind != tokWord || p.pos+1 >= len(p.toks) {
		return false
	}
	n := p.toks[p.pos+1]
	return n.kind == tokSymbol && n.text == "("
}

// parseCall reads a function with its operands, which arg reads.
func (p *parser) parseCall(inUpdate bool, arg func() *expr) *expr {
	name := p.next().text
	f, ok := functions[name]
	switch {
	case !ok:
		p.fail("Invalid function name; function: " + name)
		return nil
	case inUpdate && !f.update:
		p.fail("The function is not allowed in an update expression; function: " + name)
		return nil
	case !inUpdate && !f.condition:
		p.fail("The function is not allowed in a condition expression; function: " + name)
		return nil
	}
	p.operator()
	p.expect("(")
	e := &expr{op: name}
	for p.err == nil {
		e.args = append(e.args, arg())
		if !p.accept(",") {
			p.expect(")")
			break
		}
	}
	if p.err == nil && len(e.args) != f.operands {
		p.fail(fmt.Sprintf("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name, len(e.args)))
	}
	if p.err != nil {
		return nil
	}
	p.checkCall(e)
	return e
}

func (p *parser) wrongOperand(op, kind string) {
	p.fail(fmt.Sprintf("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", op, kind))
}

// checkCall checks what can be checked without an item.
func (p *parser) checkCall(e *expr) {
	first := e.args[0]
	switch e.op {
	case "attribute_exists", "attribute_not_exists", "if_not_exists":
		if first.op != "path" {
			p.fail("Operator or function requires a document path; operator or function: " + e.op)
		}
	case "attribute_type":
		p.checkTypeName(e.args[1])
	case "begins_with":
		p.distinct(e.op, e.args)
		for _, a := range e.args {
			if a.op == "value" && a.value.kind != "S" && a.value.kind != "B" {
				p.wrongOperand(e.op, a.value.kind)
			}
		}
	case "contains":
		p.distinct(e.op, e.args)
	case "size":
		switch {
		case first.op == "size":
			p.wrongOperand("size", "N")
		case first.op == "value" && (first.value.kind == "N" || first.value.kind == "BOOL" || first.value.kind == "NULL"):
			p.wrongOperand("size", first.value.kind)
		}
	case "list_append":
		for _, a := range e.args {
			if a.op == "value" && a.value.kind != "L" {
				p.wrongOperand(e.op, a.value.kind)
			}
		}
	}
}

func (p *parser) checkTypeName(e *expr) {
	const all = "{B,BOOL,BS,L,M,N,NS,NULL,S,SS}"
	if e.op != "value" {
		p.wrongOperand("attribute_type", all)
		return
	}
	if e.value.kind != "S" {
		p.wrongOperand("attribute_type", e.value.kind)
		return
	}
	switch e.value.s {
	case "B", "BOOL", "BS", "L", "M", "N", "NS", "NULL", "S", "SS":
	default:
		p.fail("Invalid attribute type name found; type: " + e.value.s + ", valid types: " + all)
	}
}

// distinct refuses an attribute that is compared with itself.
func (p *parser) distinct(op string, args []*expr) {
	if args[0].op != "path" {
		return
	}
	first := args[0].path.String()
	for _, a := range args[1:] {
		if a.op == "path" && a.path.String() == first {
			p.fail("The first operand must be distinct from the remaining operands for this operator or function; operator: " + op + ", first operand: " + first)
			return
		}
	}
}

func (p *parser) redundant() {
	p.fail("The expression has redundant parentheses;")
}
