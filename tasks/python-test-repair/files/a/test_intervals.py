import unittest

import intervals


class IntervalsTest(unittest.TestCase):
    def test_merge_joins_overlapping_pairs(self):
        self.assertEqual(intervals.merge([(5, 8), (1, 3), (2, 4)]), [(1, 4), (5, 8)])

    def test_merge_joins_touching_pairs(self):
        self.assertEqual(intervals.merge([(1, 3), (3, 5)]), [(1, 5)])

    def test_total_counts_once(self):
        self.assertEqual(intervals.total([(0, 4), (2, 6)]), 6)

    def test_subtract(self):
        self.assertEqual(intervals.subtract([(0, 10)], [(3, 5)]), [(0, 3), (5, 10)])

    def test_contains(self):
        self.assertTrue(intervals.contains([(1, 3)], 1))
        self.assertFalse(intervals.contains([(1, 3)], 0))


if __name__ == "__main__":
    unittest.main()
