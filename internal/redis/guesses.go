package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// GuessRules say how fast passwords may be guessed.
type GuessRules struct {
	FreePerPair    int           // failures of a user at an address before their guesser waits; then the waits double, from a second on
	LongestWait    time.Duration // the longest of them
	ForgetAfter    time.Duration // when failures are forgotten
	FreePerAddress int           // failures of an address at once
	Refill         time.Duration // time in which an address gets one of them back
}

// Guesses counts wrong passwords for all nodes that share a Redis, by its clock. Whoever calls it counts by itself too: what is here may be lost.
//
// Addresses and pairs (a user at an address) are named by hashes. Both keys of a guess have the address as their tag, and so are in one slot.
type Guesses struct {
	client *Client
	rules  []string
}

// NewGuesses makes the counters of a client.
func NewGuesses(c *Client, r GuessRules) *Guesses {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return &Guesses{c, []string{
		number(int64(r.FreePerPair)), number(r.LongestWait.Milliseconds()), number(r.ForgetAfter.Milliseconds()),
		number(int64(r.FreePerAddress)), number(r.Refill.Milliseconds()),
	}}
}

// guesses keeps "failures:time of the last" for a pair, and for an address the time at which its allowance will be whole again. It answers a wait in milliseconds.
// Servers before 5 only let a script write after it asked for the time if its effects are replicated, not its text.
const guesses = `
if redis.replicate_commands then redis.replicate_commands() end
local address, pair, verb = KEYS[1], KEYS[2], ARGV[1]
local free, longest, forget, allowance, refill = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local count, last = string.match(redis.call('GET', pair) or '', '^(%d+):(%d+)$')
count, last = tonumber(count or 0), tonumber(last or 0)
local function wait()
  if count < free then return 0 end
  return math.max(0, last + math.min(1000 * 2 ^ math.min(count - free, 16), longest) - now)
end
local function keep(key, value, life)
  if life > 0 then redis.call('SET', key, value, 'PX', string.format('%.0f', life)) else redis.call('DEL', key) end
end
local function pays(cost)
  local whole = math.max(tonumber(redis.call('GET', address) or 0), now) + cost
  keep(address, string.format('%.0f', whole), whole - now)
end
if verb == 'wait' then return {wait()} end
if verb == 'begin' then
  local whole = math.max(tonumber(redis.call('GET', address) or 0), now) + refill
  local rest = math.max(wait(), whole - now - allowance * refill)
  if rest > 0 then return {rest} end
  pays(refill)
  keep(pair, string.format('%.0f:%.0f', count + 1, now), forget)
  return {0}
end
pays(-refill)
if verb == 'right' or count <= 1 then
  redis.call('DEL', pair)
else
  keep(pair, string.format('%.0f:%.0f', count - 1, last), forget)
end
return {0}
`

// Wait answers how long the guesser of a pair has to wait; 0: not at all.
func (g *Guesses) Wait(ctx context.Context, address, pair string) (time.Duration, error) {
	return g.do(ctx, "wait", address, pair)
}

// Begin counts a guess as a failure until it is known better, or answers how long to wait instead.
func (g *Guesses) Begin(ctx context.Context, address, pair string) (time.Duration, error) {
	return g.do(ctx, "begin", address, pair)
}

// Right takes back what a guess cost, and all failures of its pair.
func (g *Guesses) Right(ctx context.Context, address, pair string) error {
	_, err := g.do(ctx, "right", address, pair)
	return err
}

// Unknown takes back what a guess cost, because nobody found out whether it was right.
func (g *Guesses) Unknown(ctx context.Context, address, pair string) error {
	_, err := g.do(ctx, "unknown", address, pair)
	return err
}

func (g *Guesses) do(ctx context.Context, verb, address, pair string) (time.Duration, error) {
	tag := g.client.cfg.Prefix + "guess:{" + address + "}"
	answer, err := g.client.run(ctx, "guess."+verb, guesses, []string{tag, tag + ":" + pair}, append([]string{verb}, g.rules...))
	if err != nil {
		return 0, fmt.Errorf("count guesses: %w", err)
	}
	if len(answer) != 1 {
		return 0, fail.E(fail.Internal, nil, "count guesses: Redis answers %d numbers", len(answer))
	}
	return time.Duration(answer[0]) * time.Millisecond, nil
}
