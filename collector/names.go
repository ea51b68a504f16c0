package collector

import "context"

// listenDNS opens the socket that names are learned from, while this process still may. Capture goes on without it.
func (c *Collector) listenDNS() {
	if c.names == nil {
		return
	}
	if err := c.names.Open(); err != nil {
		c.metrics.errors.WithLabelValues("listen for dns answers").Inc()
		c.log.Warn("names of addresses are not learned: CAP_NET_RAW is missing, or collector.dns.enabled should be false", "err", err)
		c.names = nil
	}
}

func (c *Collector) learnNames(ctx context.Context) {
	if err := c.names.Run(ctx); err != nil {
		c.metrics.errors.WithLabelValues("read dns answers").Inc()
		c.log.Error("names of addresses are not learned until the collector is started again", "err", err)
	}
}
