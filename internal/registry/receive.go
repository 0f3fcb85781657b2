package registry

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// cleanTime is what is spent on putting away what a request leaves that failed. What stays then expires with its upload.
const cleanTime = 30 * time.Second

// intake is one request that brings bytes to an upload. It outlives the request's context: what came is kept.
type intake struct {
	r         *Registry
	ctx       context.Context
	timer     *time.Timer // ends ctx, once the body has ended; it rests while the store is at work, which has limits of its own
	name      oci.Name
	up        index.Upload // as far as this intake settled it
	algorithm oci.Algorithm
	sum       hash.Hash  // of all bytes that came
	object    string     // a name whose row is written, for the next object; or ""
	purse     purse      // what may be received
	wanted    oci.Digest // what the upload is to become; zero if that is not known yet
	settled   int64      // bytes of this request that are counted as received
	free      bool       // they are not held of the quota: the project has the blob that they are to become
}

// object is one that is written and durable, and not settled yet.
type object struct {
	name string
	size int64
}

// intake prepares to go on where the upload stands, if there is room for a body of size bytes (-1: not known), and a place for its subject. The function that it answers ends it.
func (r *Registry) intake(ctx context.Context, name oci.Name, u index.Upload, a oci.Algorithm, size int64) (*intake, func(), error) {
	if err := r.checkRoom(ctx, size); err != nil {
		return nil, nil, err
	}
	free, err := r.senders.begin(u.Subject)
	if err != nil {
		return nil, nil, err
	}
	in, end, err := r.admitted(ctx, name, u, a)
	if err != nil {
		free()
		return nil, nil, err
	}
	return in, func() {
		end()
		free()
	}, nil
}

// admitted is intake for one who has been given room and a place.
func (r *Registry) admitted(ctx context.Context, name oci.Name, u index.Upload, a oci.Algorithm) (*intake, func(), error) {
	sum := a.New()
	if u.Off > 0 {
		state, ok := sum.(encoding.BinaryUnmarshaler)
		if !ok {
			return nil, nil, fail.E(fail.Internal, nil, "hash %s without a state", a)
		}
		if err := state.UnmarshalBinary(u.Hash); err != nil {
			return nil, nil, fail.E(fail.Internal, err, "state of upload %s", u.ID)
		}
	}
	long, cancel := context.WithCancel(context.WithoutCancel(ctx))
	timer := time.AfterFunc(r.cfg.SettleTime, cancel)
	timer.Stop()
	in := &intake{r: r, ctx: long, timer: timer, name: name, up: u, algorithm: a, sum: sum, purse: r.purse(u.Quota)}
	return in, func() {
		in.purse.empty()
		timer.Stop()
		cancel()
	}, nil
}

// onEnd begins the time that is left: the body has ended.
func (in *intake) onEnd() { in.timer.Reset(in.r.cfg.SettleTime) }

// take streams a body into objects, each of which ends at MaxObjectBytes or with the body. All but the last are settled; the last is answered, nil if no byte
// came. It is durable also where an error is answered beside it: the body's own.
//
//  1. The object's row, under a random name. A crash leaves a row without bytes, removed with its upload, or moved to the dead when that is done.
//  2. The bytes, durable. A crash leaves an object under that row.
//  3. Settled: see settle. A crash leaves an upload that goes on behind this object.
func (in *intake) take(from io.Reader, size int64) (*object, error) {
	if from == nil || size == 0 {
		in.onEnd()
		return nil, nil //nolint:nilnil // no bytes are no object, and no error
	}
	b := &body{from: from, sum: in.sum, fits: func(n int64) error { return in.r.stillRoom(in.ctx, n) }}
	if size > 0 {
		if err := in.reserve(size); err != nil {
			in.onEnd()
			return nil, err
		}
	} else if in.purse.project != 0 {
		b.allow = func(least, most int64) (int64, error) {
			n, err := in.purse.stretch(in.ctx, least-in.settled, most-in.settled)
			return n + in.settled, err
		}
	}
	var last *object
	for b.more() && b.ask() {
		if last != nil {
			if err := in.settle(*last); err != nil {
				return nil, err
			}
		}
		if in.up.Seq >= maxObjects {
			return nil, fail.E(fail.TooLarge, nil, "upload %s has %d pieces", in.up.ID, in.up.Seq).Code(oci.CodeBlobUploadInvalid).
				Hint("a blob has at most %d: begin another upload with larger chunks (see OCI-Chunk-Min-Length)", maxObjects)
		}
		o, err := in.store(b, size)
		if err != nil {
			return nil, err
		}
		last = &o
	}
	in.onEnd()
	return last, b.verdict(size)
}

// reserve makes sure that a body of so many bytes may come. Denied if the quota of the project has not so much left, unless the project has the blob that it is to become: then it costs nothing, or what all of it does where that is deleted before the commit.
func (in *intake) reserve(size int64) error {
	err := in.purse.try(in.ctx, size)
	if !errors.Is(err, errFull) {
		return err
	}
	if !in.wanted.IsZero() {
		if in.free, err = index.HasCharge(in.ctx, in.r.db, in.purse.project, in.wanted); err != nil || in.free {
			return err
		}
	}
	return in.purse.fill(in.ctx, size)
}

// store makes the next object of a body: its row, then its bytes. Where the store is Unavailable and the bytes can be had again, another object is tried, under
// another name: under the first there may be a part, or the whole, later still if the store is slow.
func (in *intake) store(b *body, size int64) (object, error) {
	before := b.n
	b.limit = in.r.cfg.MaxObjectBytes
	hint := int64(-1)
	if size > before {
		hint = min(size-before, b.limit)
	}
	giveBack := in.r.memory.lend(b, hint)
	defer giveBack()
	for tries := in.r.blobs.Tries(); ; {
		name, err := in.open()
		if err != nil {
			return object{}, err
		}
		if err = in.write(name, hint, b); err == nil {
			return object{name: name, size: b.n - before}, nil
		}
		in.abandon(name)
		if in.r.blobs.Patience() == 0 || !fail.Is(err, fail.Unavailable) || !b.rewind() || !tries.Another(in.ctx) {
			return object{}, err
		}
		in.r.metrics.repeated.Inc()
	}
}

// open answers the name of the next object, whose row is written. It looks again whether the upload stands where this request goes on.
func (in *intake) open() (string, error) {
	if in.up.Off == 0 && in.object == "" {
		in.object = in.r.prepared.take(in.up.ID)
	}
	if name := in.object; name != "" {
		in.object = ""
		return name, nil
	}
	name, seq := in.r.blobs.NewName(), unsettledSeq()
	lost := false
	err := in.r.relaxed(in.ctx, "object.open", func(tx *sqldb.Tx) error {
		now := micros(tx.Now())
		n, err := index.TouchUpload(in.ctx, tx, in.up.ID, in.up.Off, now)
		if lost = err == nil && n == 0; lost || err != nil {
			return err
		}
		_, err = index.UnsettledContent(in.ctx, tx, name)
		if !fail.Is(err, fail.NotFound) {
			return err // nil: an earlier run was committed
		}
		return index.InsertObject(in.ctx, tx, in.up.Content, seq, name, now)
	})
	if err != nil {
		return "", fmt.Errorf("open object: %w", err)
	}
	if lost {
		return "", in.lost()
	}
	return name, nil
}

// write writes an object. The time that is left when the body ended does not run meanwhile: where the store is what many clients wait for, the last of them get their turn
// late, and would all be refused, and send everything again. A store that moves no byte is given up by itself: see blob.StoreConfig.
func (in *intake) write(name string, hint int64, b *body) error {
	before := b.n
	in.timer.Stop()
	defer in.keep()()
	defer func() {
		if b.ended {
			in.onEnd()
		}
	}()
	return in.r.step("object.put", func() error {
		w, err := in.r.blobs.Put(in.ctx, name, hint, b)
		if err != nil {
			return err
		}
		if w.Size != b.n-before {
			return fail.E(fail.Internal, nil, "object %s has %d bytes of %d", name, w.Size, b.n-before)
		}
		in.r.metrics.received.Add(float64(w.Size))
		return nil
	})
}

// touchEvery is how often an upload is noted as active while a request is at work on one object of it, which may be large and its client slow: far below the shortest time after which one expires.
const touchEvery = 15 * time.Second

// keep notes every now and then that the upload is not idle, until the function that it answers is called.
func (in *intake) keep() (stop func()) {
	ctx, cancel := context.WithCancel(in.ctx)
	var mu sync.Mutex
	mu.Lock()
	defer mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(touchEvery, func() {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		in.touch(ctx)
		timer.Reset(touchEvery)
	})
	return func() {
		cancel()
		mu.Lock() // a note that is being made ends first
		defer mu.Unlock()
		timer.Stop()
	}
}

// touch notes that the upload is active. Where that fails, the next note comes soon enough.
func (in *intake) touch(ctx context.Context) {
	err := in.r.relaxed(ctx, "upload.touch", func(tx *sqldb.Tx) error {
		_, err := index.TouchUpload(ctx, tx, in.up.ID, in.up.Off, micros(tx.Now()))
		return err
	})
	if err != nil && ctx.Err() == nil {
		in.r.cfg.Log.DebugContext(ctx, "an upload is not noted as active", "upload", in.up.ID, "error", err)
	}
}

// settle makes an object part of the upload, if the upload still stands where the object begins; else the object is dead, and the error says where the upload
// stands. One transaction: a crash leaves all of it or nothing.
func (in *intake) settle(o object) error {
	state, ok := in.sum.(encoding.BinaryMarshaler)
	if !ok {
		return fail.E(fail.Internal, nil, "hash %s without a state", in.algorithm)
	}
	hashed, err := state.MarshalBinary()
	if err != nil {
		return fail.E(fail.Internal, err, "state of upload %s", in.up.ID)
	}
	junk, lost, gone := sqldb.NewID(), false, false
	to := in.up.Off + o.size
	advance := func(tx *sqldb.Tx) error {
		lost, gone = false, false
		n, txErr := index.Advance(in.ctx, tx, in.up.ID, in.up.Off, to, in.algorithm, hashed, micros(tx.Now()))
		if txErr != nil {
			return txErr
		}
		if n > 0 {
			if !in.free {
				txErr = in.purse.hold(in.ctx, tx, in.up.ID, o.size)
			}
			if txErr == nil {
				txErr = in.number(tx, o)
			}
			return txErr
		}
		settled, txErr := index.IsSettled(in.ctx, tx, o.name)
		if txErr != nil || settled {
			return txErr // settled: an earlier run was committed
		}
		lost = true
		gone, txErr = in.bury(tx, o.name, junk)
		return txErr
	}
	err = in.purse.afford(in.ctx, func() error { return in.r.keyed(in.ctx, "upload.settle", advance) })
	if !lost && !in.free {
		in.purse.counted(o.size, err)
	}
	if err != nil {
		return fmt.Errorf("settle upload %s at byte %d: %w", in.up.ID, to, err)
	}
	if lost {
		in.forget(o.name, gone)
		return in.lost()
	}
	in.up.Off, in.up.Algorithm, in.up.Hash = to, in.algorithm, hashed
	in.up.Seq++
	in.settled += o.size
	return nil
}

// number gives an object its place in the content of the upload.
func (in *intake) number(tx *sqldb.Tx, o object) error {
	n, err := index.SettleObject(in.ctx, tx, in.up.Content, o.name, in.up.Seq, o.size)
	if err == nil && n == 0 {
		err = fail.E(fail.Internal, nil, "object %s is not one of upload %s", o.name, in.up.ID)
	}
	return err
}

// bury puts an unsettled object among the dead, in a content of its own. It is gone if no row names it any more.
func (in *intake) bury(tx *sqldb.Tx, name string, junk int64) (gone bool, err error) {
	content, err := index.UnsettledContent(in.ctx, tx, name)
	if fail.Is(err, fail.NotFound) {
		settled, findErr := index.IsSettled(in.ctx, tx, name)
		return !settled && findErr == nil, findErr
	}
	if err != nil || content != in.up.Content {
		return false, err // in another content: who moved it there buried that
	}
	now := micros(tx.Now())
	if _, err = index.InsertContent(in.ctx, tx, junk, now); err != nil {
		return false, err
	}
	if err = index.MoveObject(in.ctx, tx, name, junk); err != nil {
		return false, err
	}
	return false, index.Bury(in.ctx, tx, junk, now)
}

// forget notes an object that was written in vain. If its row is gone, nobody else will delete its bytes.
func (in *intake) forget(name string, gone bool) {
	in.r.metrics.lost.Inc()
	if !gone {
		return
	}
	if err := in.r.blobs.Delete(in.ctx, name); err != nil {
		in.r.cfg.Log.WarnContext(in.ctx, "an object without a row stays for the sweep by listing", "object", name, "error", err)
	}
}

// cleaning answers the intake with a time of its own, for what it leaves if it failed because its time was over.
func (in *intake) cleaning() (*intake, context.CancelFunc) {
	late := *in
	ctx, cancel := context.WithTimeout(context.WithoutCancel(in.ctx), cleanTime)
	late.ctx = ctx
	return &late, cancel
}

// abandon puts an object that could not be written, or is of no use, among the dead. If that fails, its row stays with the upload, and goes with it.
func (in *intake) abandon(name string) {
	in, end := in.cleaning()
	defer end()
	junk, gone := sqldb.NewID(), false
	err := in.r.relaxed(in.ctx, "object.abandon", func(tx *sqldb.Tx) error {
		var err error
		gone, err = in.bury(tx, name, junk)
		return err
	})
	if err != nil {
		in.r.cfg.Log.WarnContext(in.ctx, "an object of no use stays until its upload ends", "object", name, "upload", in.up.ID, "error", err)
		return
	}
	in.forget(name, gone)
}

// lost answers why this request could not go on: another one was faster.
func (in *intake) lost() error {
	u, err := in.r.findUpload(in.ctx, in.name, in.up.ID)
	if err != nil {
		return err
	}
	if !u.Done.IsZero() {
		return uploadUnknown(in.name, in.up.ID)
	}
	return misplaced(in.name, u, in.up.Off)
}

// keepOf settles what came of a body with an error, and answers that error, or the settling's.
func (in *intake) keepOf(o object, err error) error {
	if settleErr := in.settle(o); settleErr != nil {
		return settleErr
	}
	return err
}

// refused ends an upload if a quota refused it: nobody goes on with it, and what it has received would be missing to the others until it expires. One that another request brought further meanwhile does go on, and
// what that one brought was acknowledged. It answers the error that it was given.
func (in *intake) refused(err error) error {
	if fail.Is(err, fail.Denied) {
		in.r.prepared.take(in.up.ID)
		in.giveUp(func(now index.Upload) bool { return now.Off == in.up.Off })
	}
	return err
}

// giveUp ends an upload that nobody goes on with, if it is so as it stands now. If that fails it expires.
//
// It is flushed by itself: the sweep deletes the objects soon, and a power cut that took this back would bring back an upload that stands behind bytes which are gone.
func (in *intake) giveUp(ends func(now index.Upload) bool) {
	in, end := in.cleaning()
	defer end()
	u := in.up
	remove := func(tx *sqldb.Tx) error {
		row, err := index.UploadByID(in.ctx, tx, u.ID)
		if fail.Is(err, fail.NotFound) {
			return nil
		}
		if err != nil || !ends(row) {
			return err
		}
		n, err := index.DeleteUploadSeen(in.ctx, tx, row)
		if err != nil || n == 0 {
			return err
		}
		if err = index.Bury(in.ctx, tx, row.Content, micros(tx.Now())); err != nil {
			return err
		}
		return forgetHold(in.ctx, tx, row)
	}
	err := in.r.ending(in.ctx, func() error { return in.r.tx(in.ctx, "upload.give-up", remove) })
	if err != nil {
		in.r.cfg.Log.WarnContext(in.ctx, "a blob that broke off stays until it expires", "upload", u.ID, "error", err)
	}
}
