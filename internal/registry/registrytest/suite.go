package registrytest

import (
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/registry"
)

// smallObject is where objects end in the suite, so that blobs of some kilobytes have several.
const smallObject = 1000

// Run runs the suite. fresh answers an empty database and an empty store.
func Run(t *testing.T, fresh func(t *testing.T) Stores) {
	t.Helper()
	t.Run("life", func(t *testing.T) {
		w := Open(t, fresh(t), func(c *registry.Config) { c.MaxObjectBytes = smallObject })
		for _, c := range []struct {
			name string
			run  func(t *testing.T, w *World)
		}{
			{"A blob reads back however it was pushed", pushedAnyWay},
			{"A blob of no bytes is a blob", emptyBlob},
			{"A digest of the other algorithm is computed when it is asked for", otherAlgorithm},
			{"A wrong digest changes nothing", wrongDigest},
			{"A repeated chunk shows itself and changes nothing", repeatedChunk},
			{"A repeated PUT gets the same answer", repeatedFinish},
			{"A commit that ran is found by what it left, whatever became of it since", commitRunLate},
			{"A mount that ran brings nothing back that was deleted since", mountRunLate},
			{"A body that breaks off is kept as far as it came", brokenBody},
			{"Another node goes on where the upload stands", otherNode},
			{"A blob has a bounded number of objects", tooManyObjects},
			{"A cancelled upload is gone", cancelled},
			{"The uploads of a subject end, and no others", subjectEnds},
			{"An idle upload expires and a busy one does not", expired},
			{"The second content of a blob is dead", duplicate},
			{"A damaged blob is replaced by the next push", damaged},
			{"A mount takes only from what may be pulled", mounted},
			{"A push makes repository and project only for those who may", firstPushes},
			{"A manifest is stored with all its tags or not at all", manifests},
			{"What is absent is named", absentReferences},
			{"An index holds its children", indexes},
			{"A tag moves at once", tagMoves},
			{"Deletes refuse what is in use", deletes},
			{"A repository is deleted with all that is in it", emptied},
			{"A quota counts each thing of a project once", quotaCounts},
			{"A quota refuses what does not fit, to the last byte", quotaRefuses},
			{"A new quota counts what is there", quotaCounted},
			{"Referrers are listed whenever they came", referrers},
			{"Fallback tags are merged into the referrers", fallbackReferrers},
			{"Lists are paged in the order of bytes", lists},
			{"A push that was told of something puts its review off", reviews},
			{"Pulls are counted", pullCounts},
			{"Objects without a row are swept when they are old", orphans},
		} {
			t.Run(c.name, func(t *testing.T) {
				c.run(t, w)
				CheckInvariants(t, w.DB, w.Store)
			})
		}
		w.end(t)
	})
	t.Run("sparse", func(t *testing.T) {
		sparse(t, Open(t, fresh(t), func(c *registry.Config) { c.SparseIndex = true }))
	})
	t.Run("many tags", func(t *testing.T) { manyTags(t, fresh(t)) })
	t.Run("slices", func(t *testing.T) { quotaSlices(t, fresh(t)) })
	t.Run("limits", func(t *testing.T) { limits(t, fresh(t)) })
	t.Run("races", func(t *testing.T) {
		races(t, Open(t, fresh(t), func(c *registry.Config) { c.QuotaIdle = 100 * time.Millisecond }))
	})
	t.Run("every step", func(t *testing.T) { everyStep(t, func() *World { return Open(t, fresh(t), nil) }) })
	t.Run("every step with a quota", func(t *testing.T) {
		everyStep(t, func() *World {
			return Open(t, fresh(t), func(c *registry.Config) { c.QuotaSlice, c.DefaultQuota = 1000, func() int64 { return 1 << 30 } })
		})
	})
}
