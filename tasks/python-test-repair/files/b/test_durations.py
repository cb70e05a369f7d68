import unittest

import durations


class DurationsTest(unittest.TestCase):
    def test_parse(self):
        self.assertEqual(durations.parse("1h30m"), 5400)

    def test_parse_spaces(self):
        self.assertEqual(durations.parse(" 2d 4h "), 187200)

    def test_parse_refuses_nonsense(self):
        with self.assertRaises(ValueError):
            durations.parse("soon")

    def test_write(self):
        self.assertEqual(durations.write(7322), "2h2m2s")

    def test_add(self):
        self.assertEqual(durations.add("40m", "30m"), "1h10m")


if __name__ == "__main__":
    unittest.main()
