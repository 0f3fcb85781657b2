// Package dbcheck tries the rules that the registry rests on against an operator's own database: that of two transactions which must not both succeed one is refused, on whichever servers
// they run; that what one server acknowledged is seen through every other; that settings keep what was acknowledged. It works in tables of its own, which it drops.
package dbcheck
