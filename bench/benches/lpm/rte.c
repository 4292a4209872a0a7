/* DPDK's rte_fib and rte_lpm for the LPM benchmark; main.rs and dpdk.rs say what it is for.
 *
 *     rte fib-avx512|fib-scalar|lpm-x4 ROUTES TRACE...
 *
 * Prints "build-seconds MiB" when the table is built, then answers lines on its input:
 *     lookup TRACE COUNT    "sum-of-hops seconds"
 *     update COUNT          "removal-seconds insertion-seconds"
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_fib.h>
#include <rte_lpm.h>
#include <rte_malloc.h>
#include <rte_vect.h>

#define BURST 256
#define MAX_TRACES 8

struct route {
	uint32_t address, length, hop;
};

static struct rte_fib *fib;
static struct rte_lpm *lpm;
static struct route *routes;
static size_t route_count;
static uint32_t *traces[MAX_TRACES];
static size_t trace_len[MAX_TRACES];

static void die(const char *what)
{
	fprintf(stderr, "rte: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *read_all(const char *path, size_t *size)
{
	struct stat st;
	FILE *file = fopen(path, "rb");
	if (!file || fstat(fileno(file), &st))
		die(path);
	void *bytes = malloc(st.st_size);
	if (!bytes || fread(bytes, 1, st.st_size, file) != (size_t)st.st_size)
		die(path);
	fclose(file);
	*size = st.st_size;
	return bytes;
}

static int add(const struct route *r)
{
	return fib ? rte_fib_add(fib, r->address, r->length, r->hop)
		   : rte_lpm_add(lpm, r->address, r->length, r->hop);
}

static int delete(const struct route *r)
{
	return fib ? rte_fib_delete(fib, r->address, r->length)
		   : rte_lpm_delete(lpm, r->address, r->length);
}

static double heap_mib(void)
{
	struct rte_malloc_socket_stats stats;
	if (rte_malloc_get_socket_stats(SOCKET_ID_ANY, &stats) && rte_malloc_get_socket_stats(0, &stats))
		return 0;
	return stats.heap_allocsz_bytes / 1048576.0;
}

static uint64_t lookup_fib(uint32_t *addresses, size_t count)
{
	uint64_t sum = 0, hops[BURST];
	for (size_t i = 0; i < count; i += BURST) {
		size_t n = count - i < BURST ? count - i : BURST;
		rte_fib_lookup_bulk(fib, addresses + i, hops, n);
		for (size_t j = 0; j < n; j++)
			sum += hops[j];
	}
	return sum;
}

static uint64_t lookup_lpm(const uint32_t *addresses, size_t count)
{
	uint64_t sum = 0;
	uint32_t hops[4];
	size_t i = 0;
	for (; i + 4 <= count; i += 4) {
		rte_lpm_lookupx4(lpm, _mm_loadu_si128((const __m128i *)(addresses + i)), hops, 0);
		sum += (uint64_t)hops[0] + hops[1] + hops[2] + hops[3];
	}
	for (; i < count; i++)
		sum += rte_lpm_lookup(lpm, addresses[i], hops) ? 0 : hops[0];
	return sum;
}

static void build(const char *kind)
{
	if (!strncmp(kind, "fib-", 4)) {
		struct rte_fib_conf conf = {
			.type = RTE_FIB_DIR24_8,
			.max_routes = 1100000,
			.dir24_8 = { .nh_sz = RTE_FIB_DIR24_8_2B, .num_tbl8 = 1 << 14 },
		};
		fib = rte_fib_create("fib", 0, &conf);
		if (!fib)
			die("rte_fib_create");
		enum rte_fib_lookup_type type = strcmp(kind, "fib-avx512") ? RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO
									   : RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512;
		if (rte_fib_select_lookup(fib, type))
			die("this CPU or build of DPDK cannot look up that way");
	} else {
		struct rte_lpm_config conf = { .max_rules = 1100000, .number_tbl8s = 1 << 14 };
		lpm = rte_lpm_create("lpm", 0, &conf);
		if (!lpm)
			die("rte_lpm_create");
	}
	for (size_t i = 0; i < route_count; i++)
		if (add(&routes[i]))
			die("a route was refused");
}

/* A fixed random order of the routes, the same in every run. */
static void shuffle(struct route *items, size_t count)
{
	uint64_t state = 7;
	for (size_t last = count - 1; 0 < last; last--) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		size_t other = (state >> 33) % (last + 1);
		struct route swap = items[last];
		items[last] = items[other];
		items[other] = swap;
	}
}

int main(int argc, char **argv)
{
	if (argc < 4 || MAX_TRACES < argc - 3)
		die("usage: rte KIND ROUTES TRACE...");
	char *eal[] = { argv[0], "--no-huge", "--no-shconf", "--no-pci", "-m", "1024", "--no-telemetry",
			"--log-level=error", "--force-max-simd-bitwidth=512" };
	cpu_set_t cpus;
	sched_getaffinity(0, sizeof cpus, &cpus);
	if (rte_eal_init(sizeof eal / sizeof *eal, eal) < 0)
		die("rte_eal_init");
	/* The EAL pins this thread; the contenders in the other process are free to move. */
	sched_setaffinity(0, sizeof cpus, &cpus);

	size_t size;
	routes = read_all(argv[2], &size);
	route_count = size / sizeof *routes;
	for (int i = 3; i < argc; i++) {
		traces[i - 3] = read_all(argv[i], &size);
		trace_len[i - 3] = size / sizeof(uint32_t);
	}
	double before = heap_mib(), start = now();
	build(argv[1]);
	printf("%f %f\n", now() - start, heap_mib() - before);
	fflush(stdout);
	shuffle(routes, route_count);

	char line[128];
	size_t trace, count;
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "lookup %zu %zu", &trace, &count) == 2 && trace < MAX_TRACES && count <= trace_len[trace]) {
			start = now();
			uint64_t sum = fib ? lookup_fib(traces[trace], count) : lookup_lpm(traces[trace], count);
			double seconds = now() - start;
			printf("%lu %.9f\n", (unsigned long)sum, seconds);
		} else if (sscanf(line, "update %zu", &count) == 1 && count <= route_count) {
			start = now();
			for (size_t i = 0; i < count; i++)
				if (delete(&routes[i]))
					die("a removal failed");
			double removal = now() - start;
			start = now();
			for (size_t i = 0; i < count; i++)
				if (add(&routes[i]))
					die("an insertion failed");
			printf("%.9f %.9f\n", removal, now() - start);
		} else {
			die("not understood");
		}
		fflush(stdout);
	}
	return 0;
}
