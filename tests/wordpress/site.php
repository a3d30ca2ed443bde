<?php
// What else the site under test has: a shop whose pages show the visitor's cart, comments that may follow each other quickly,
// and no mail.
add_action(
	'wp_footer',
	function () {
		if ( isset( $_COOKIE['woocommerce_cart_hash'] ) ) {
			echo '<p>Cart: ' . esc_html( $_COOKIE['woocommerce_cart_hash'] ) . '</p>';
		}
	}
);
add_filter( 'comment_flood_filter', '__return_false', 99 );
add_filter( 'pre_wp_mail', '__return_true' );
