package harness

import "time"

// Drift measures how late this machine wakes those who sleep: a bound on time that holds on a quiet machine is widened by a multiple of it.
type Drift struct {
	worst time.Duration
	stop  chan struct{}
	ended chan struct{} // closed when worst is the last word
}

// MeasureDrift begins to measure.
func MeasureDrift() *Drift {
	d := &Drift{stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(d.ended)
		for {
			select {
			case <-d.stop:
				return
			default:
			}
			begin := time.Now()
			time.Sleep(time.Millisecond)
			d.worst = max(d.worst, time.Since(begin)-time.Millisecond)
		}
	}()
	return d
}

// End ends the measurement and answers the most that anybody was late. It is to be called once.
func (d *Drift) End() time.Duration {
	close(d.stop)
	<-d.ended
	return d.worst
}
