package filter

import "strings"

// val is the transformer that changes nothing: it marks the right side of a check as a field.
const val = "val"

// left is a field or a transformer.
func (p *parser) left() Operand {
	defer p.down()()
	at := p.pos
	switch {
	case p.take(fieldLen(p.rest())):
		return p.field(p.last, at)
	case p.call():
		return p.arguments(strings.TrimSuffix(p.last, "("), at)
	}
	p.fail("expected a field or a transformer")
	return nil
}

// call reads the name of a transformer with its parenthesis.
func (p *parser) call() bool {
	for _, c := range calls {
		if p.word(c + "(") {
			return true
		}
	}
	return false
}

func (p *parser) field(name string, at Pos) Operand {
	defer p.down()()
	f := &Field{Name: name, At: at}
	f.Arg, f.HasArg = p.bracket()
	return f
}

// bracket reads the argument of a field, if there is one.
func (p *parser) bracket() (string, bool) {
	if !p.word("[") {
		return "", false
	}
	arg, ok := p.quoted()
	if !ok {
		if !p.take(argLen(p.rest())) {
			p.fail("expected a valid field argument: a quoted string or a bare string")
		}
		arg = p.last
	}
	if !p.word("]") {
		p.fail("expected a ']' token")
	}
	return arg, true
}

func (p *parser) quoted() (string, bool) {
	at := p.pos
	if !p.take(quotedLen(p.rest())) {
		return "", false
	}
	s, err := unquote(p.last)
	if err != nil {
		p.pos = at
		p.fail("%v", err)
	}
	p.last = s
	return s, true
}

// arguments are those of a transformer, with the closing parenthesis and what follows it.
func (p *parser) arguments(name string, at Pos) Operand {
	defer p.down()()
	c := &Call{Name: name, At: at}
	for more := true; more; more = p.word(",") {
		c.Args = append(c.Args, p.argument(true))
		p.blank()
	}
	if !p.word(")") {
		p.fail("expected a ')' token closing the transformer")
	}
	c.Arg, c.HasArg = p.bracket()
	return c
}

// argument is one of a transformer, or an element of a list within them.
func (p *parser) argument(lists bool) Operand {
	defer p.down()()
	p.blank()
	at := p.pos
	if p.take(hexLen(p.rest())) || p.take(numLen(p.rest())) {
		return &Text{p.last, at}
	}
	if s, ok := p.quoted(); ok {
		return &Text{s, at}
	}
	switch {
	case lists && p.word("("):
		return p.operands(at)
	case p.call():
		return p.arguments(strings.TrimSuffix(p.last, "("), at)
	case p.take(fieldLen(p.rest())):
		return p.field(p.last, at)
	}
	p.fail("expected a field, a transformer, a quoted string, a number or a list of them")
	return nil
}

// operands is a list within the arguments of a transformer, after its opening parenthesis.
func (p *parser) operands(at Pos) Operand {
	l := &List{At: at}
	p.blank()
	if p.word(")") {
		return l
	}
	for more := true; more; more = p.word(",") {
		l.Items = append(l.Items, p.argument(false))
		p.blank()
	}
	if !p.word(")") {
		p.fail("expected a ')' token")
	}
	return l
}

// number is the right side of < and its like.
func (p *parser) number() Operand {
	defer p.down()()
	p.blank()
	at := p.pos
	if c := p.transformed(); c != nil {
		return c
	}
	if p.take(hexLen(p.rest())) || p.take(numLen(p.rest())) {
		return &Text{p.last, at}
	}
	p.fail("expected a number value or a field with a valid transformer: %s", quotedWords(append([]string{val}, calls...)))
	return nil
}

// text is the right side of = and its like, or an element of a list, where transformers are not allowed.
func (p *parser) text(transformers bool) Operand {
	defer p.down()()
	p.blank()
	at := p.pos
	if transformers {
		if c := p.transformed(); c != nil {
			return c
		}
	}
	if s, ok := p.quoted(); ok {
		return &Text{s, at}
	}
	if p.take(bareLen(p.rest())) {
		return &Text{p.last, at}
	}
	if transformers {
		p.fail("expected a string value or a field with a valid transformer: %s", quotedWords(append([]string{val}, calls...)))
	}
	p.fail("expected a string value")
	return nil
}

// listValue is the right side of in and its like: a list, the bare name of one, or a transformer if those are allowed.
func (p *parser) listValue(transformers bool) Operand {
	defer p.down()()
	p.blank()
	at := p.pos
	if p.word("(") {
		return p.values(at)
	}
	if transformers {
		if c := p.transformed(); c != nil {
			return c
		}
	}
	if p.take(identLen(p.rest())) {
		return &List{[]Operand{&Text{p.last, at}}, at}
	}
	if transformers {
		p.fail("expected a list, an identifier, or a field with a valid transformer: %s", quotedWords(append([]string{val}, calls...)))
	}
	p.fail("expected a list or an identifier")
	return nil
}

func (p *parser) values(at Pos) Operand {
	l := &List{At: at}
	p.blank()
	if p.word(")") {
		return l
	}
	for more := true; more; more = p.word(",") {
		l.Items = append(l.Items, p.text(false))
		p.blank()
	}
	if !p.word(")") {
		p.fail("expected a ')' token")
	}
	return l
}

// transformed is val(field) or another transformer on the right side of a check; nil if there is none.
func (p *parser) transformed() Operand {
	defer p.down()()
	p.blank()
	at := p.pos
	if p.word(val + "(") {
		p.blank()
		start := p.pos
		if !p.take(fieldLen(p.rest())) {
			p.fail("expected a field within '%s' transformer", val)
		}
		c := &Call{Name: val, Args: []Operand{p.field(p.last, start)}, At: at}
		p.blank()
		if !p.word(")") {
			p.fail("expected a ')' token closing the transformer")
		}
		c.Arg, c.HasArg = p.bracket()
		return c
	}
	if p.call() {
		return p.arguments(strings.TrimSuffix(p.last, "("), at)
	}
	return nil
}
