# SPDX-License-Identifier: Apache-2.0
"""Every fault of test_errors.py, test_verify.py and test_round_trips.py again, over TLS with a private CA."""

import pytest

from test_errors import *  # noqa: F401, F403
from test_round_trips import *  # noqa: F401, F403
from test_verify import *  # noqa: F401, F403

# Their servers of storage and tokens speak plain HTTP, where none that speaks TLS may send anybody.
del test_redirects_are_followed, test_the_wrong_bytes_behind_a_redirect  # noqa: F821
del test_cold_with_tokens_and_storage_elsewhere  # noqa: F821


@pytest.fixture
def registry(registries, authority):
    return registries(tls=authority.context("127.0.0.1"))


@pytest.fixture
def mount(mount, authority, work):
    ca = authority.ca_file(work)

    def make(source=None, *options, **more):
        return mount(source, "--ca-file", ca, *options, **more)
    return make
