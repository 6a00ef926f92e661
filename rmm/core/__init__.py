"""Pure decisions and small state machines: facts and the time go in, values come out."""
